"""One pair of clean and degraded audio: it is made from a clip with a real encoder, measured, and read back."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torchaudio.transforms import Spectrogram

from unlossy.codecs import SAMPLING_RATE, decode
from unlossy.hub.audio_unlossy import AudioError, AudioReader
from unlossy.inspection import measure_cutoff

from ..corpus.recordings import UnusableError, flac, is_silent
from ..files import read_audio
from .recipes import Recipe, draw_recipe
from .varying import varied

FILE_SUFFIXES = {"mp3": "mp3", "aac": "m4a", "vorbis": "ogg", "opus": "opus"}
LARGEST_OFFSET = 4096  # [samples]: how far a lag is looked for, on each side
SHORTEST = SAMPLING_RATE // 2  # [samples] of a clip
LEAST_COHERENCE = 0.99  # of a band that the level is measured in: a signal-to-noise ratio of 17 dB
LOWEST_EDGE = 12_500  # [Hz]: a codec at a bitrate that recordings are taken at leaves no lower one


def offset(clean: np.ndarray, degraded: np.ndarray) -> int:
    """Measure by how many samples `degraded` lags behind `clean`, from the peak of their cross-correlation.

    The cross-spectrum is half whitened, because the bass alone would make too broad a peak.

    Args:
        clean, degraded (`np.ndarray` of shape `(channels, samples)`): audio of the same length.

    Returns:
        `int`: the lag [samples], negative where `degraded` is early.
    """
    samples = clean.shape[-1]
    size = 1 << (samples + LARGEST_OFFSET).bit_length()
    spectra = [np.fft.rfft(audio.sum(axis=0), n=size) for audio in (clean, degraded)]
    if min(np.abs(spectrum).max() for spectrum in spectra) < 1e-3:  # opposite channels
        spectra = [np.fft.rfft(audio[0], n=size) for audio in (clean, degraded)]
    cross = np.conj(spectra[0]) * spectra[1]
    correlation = np.fft.irfft(cross / np.sqrt(np.abs(cross) + 1e-12))
    around = np.concatenate([correlation[-LARGEST_OFFSET:], correlation[: LARGEST_OFFSET + 1]])
    return int(np.argmax(around)) - LARGEST_OFFSET


def level(clean: np.ndarray, degraded: np.ndarray) -> float:
    """Measure by what a codec has multiplied the whole signal, in the bands that it preserved well.

    LAME multiplies by 0.95 at 128 kbps and below, and by 0.97 at 192 kbps. That is no damage. A restorer that learned
    to undo it would gain nothing, and would learn little else, because it is a third of the error's energy at 64 kbps.

    Args:
        clean, degraded (`np.ndarray` of shape `(channels, samples)`): aligned, of the same length.

    Returns:
        `float`: the factor; 1 where no band is preserved well enough to tell.
    """
    width = 32  # [bins]
    spectrogram = Spectrogram(2048, hop_length=1024, power=None, center=False)
    bins = spectrogram(torch.from_numpy(np.stack([clean, degraded])))[:, :, :1024]  # (2, C, F, T)
    spectra = bins.unflatten(2, (-1, width)).transpose(1, 2).flatten(2)  # (2, bands, …)
    wanted, given = spectra.abs().square().sum(dim=2)
    cross = (spectra[0] * spectra[1].conj()).real.sum(dim=1)
    kept = cross > LEAST_COHERENCE * (wanted * given).sqrt()
    return float((given[kept].sum() / wanted[kept].sum()).sqrt()) if kept.any() else 1.0


def earlier_edge(clean: np.ndarray) -> float | None:
    """The edge that a codec left in a clean side before it came here [Hz].

    Args:
        clean (`np.ndarray` of shape `(channels, samples)`): at 44.1 kHz.

    Returns:
        `float` or `None`: nothing where the spectrum goes on to the top, or ends further down than any such codec
            would have cut it: then the original did.
    """
    edge = measure_cutoff(clean, SAMPLING_RATE)
    return None if edge is None or edge < LOWEST_EDGE else edge


def read_clip(path: Path) -> np.ndarray:
    """Read a clip: float32 of shape `(channels, samples)`.

    Raises:
        UnusableError: it is unreadable, lossy, neither mono nor stereo, not at 44.1 kHz, too short or mostly silent, or
            it has samples that are not finite.
    """
    try:
        with AudioReader(path, strict=True) as reader:
            codec, rate, channels = reader.codec, reader.sampling_rate, reader.channels
            clean = np.concatenate(list(reader.blocks(SAMPLING_RATE)), axis=1)
    except AudioError as error:
        raise UnusableError("unreadable", str(error)) from error
    if codec != "flac" and not codec.startswith("pcm"):
        raise UnusableError("lossy", f"{path} is {codec}; clips need to be FLAC or WAV")
    if rate != SAMPLING_RATE:
        raise UnusableError("wrong rate", f"{path} has {rate} Hz; clips need {SAMPLING_RATE} Hz")
    if channels > 2:
        raise UnusableError("too many channels", f"{path} has {channels} channels; clips need 1 or 2")
    if clean.shape[1] < SHORTEST:
        raise UnusableError("too short", f"{path} has {clean.shape[1]} samples; clips need {SHORTEST}")
    if is_silent(clean):
        raise UnusableError("silent", f"{path} is silent for more than half of its time")
    return clean


def make_pair(clip: dict[str, str], folder: Path, seed: int) -> dict[str, Any]:
    """Encode a clip and measure what has become of it.

    Args:
        clip (`dict`): a row of clips.csv. With `codec` and `bitrate_kbps` it is encoded so, and with `degraded` this
            file is its degraded side. With `variation`, a number above 0, the clip is [`varied`] first.
        folder (`Path`): the folder of the clips.
        seed (`int`): decides on the recipe and the variation, together with the file's name.

    Returns:
        `dict`: a row of the dataset, and with it `fingerprint` (a hash of the clean samples), `seconds` and
            `attribution`.

    Raises:
        UnusableError: `read_clip` refuses the clip, or the decoded side lags behind it.
    """
    path = folder / clip["file"]
    clean, file, name = read_clip(path), path.read_bytes(), path.name
    # The file's name seeds, not its place in the list: a longer list changes nothing for the first clips.
    rng = np.random.default_rng([seed, 3, *path.stem.encode()])
    number = clip.get("variation")
    if number:
        rng = np.random.default_rng([seed, 8, int(number), *path.stem.encode()])
    if clip.get("codec"):
        recipe = Recipe(clip["codec"], int(clip["bitrate_kbps"]) or None)
    else:
        recipe = draw_recipe(rng, len(clean))
    if number:
        file, name = flac(varied(clean, rng, low_pass=recipe.keeps_treble)), f"{path.stem}-{number}.flac"
        clean, _ = read_audio(file)
    mode, seconds = recipe.mode(len(clean)), clean.shape[1] / SAMPLING_RATE
    original = {"bytes": file, "path": name}
    compressed, decoded = original, clean
    bitrate = recipe.bitrate_kbps or 0
    if clip.get("degraded"):
        mode = "found"
        data = (folder / clip["degraded"]).read_bytes()
        compressed, decoded = {"bytes": data, "path": clip["degraded"]}, decode(data, clean.shape[1])
    elif recipe.codec != "identity":
        data = recipe.encode(clean)
        compressed = {"bytes": data, "path": f"{Path(name).stem}.{FILE_SUFFIXES[recipe.codec]}"}
        decoded = decode(data, clean.shape[1])
        bitrate = bitrate or round(len(data) * 8 / 1000 / seconds)
    lag = offset(clean, decoded)
    if lag:
        raise UnusableError(
            f"misaligned {recipe.codec}", f"{path} as {recipe.codec} {bitrate} kbps {mode} is {lag} samples late"
        )
    return {
        "clean": original,
        "degraded": compressed,
        "codec": recipe.codec,
        "bitrate_kbps": bitrate,
        "mode": mode,
        "offset_samples": lag,
        "cutoff_hz": measure_cutoff(decoded, SAMPLING_RATE),
        "level": level(clean, decoded),
        "edge_hz": earlier_edge(clean),
        **{name: clip.get(name) or "" for name in ("genre", "title", "source", "license", "split", "attribution")},
        "seconds": seconds,
        "fingerprint": hashlib.sha256(clean.tobytes() + bytes([len(clean)])).hexdigest(),
    }


def decode_pair(pair: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Decode a row of the dataset.

    Args:
        pair (`dict`): a row with the columns `clean`, `degraded` and `level`.

    Returns:
        `tuple`: the degraded and the clean side, float32 of shape `(channels, samples)` at 44.1 kHz. They are aligned,
            and the clean side is brought to the level of the degraded one.

    Raises:
        ValueError: a column is missing, a file is damaged, or the sides have another rate, unequal channels, or samples
            that are not finite. The sentence names the file.
    """
    missing = [name for name in ("clean", "degraded", "level") if not pair.get(name)]
    if missing:
        raise ValueError(f"a pair has no {' and no '.join(missing)}; its columns are {', '.join(sorted(pair))}")
    name = pair["degraded"]["path"]
    try:
        clean, rate = read_audio(pair["clean"]["bytes"])
        degraded = decode(pair["degraded"]["bytes"], clean.shape[1])
    except ValueError as error:
        raise ValueError(f"the pair {name} is damaged: {error}") from error
    if rate != SAMPLING_RATE:
        raise ValueError(f"the pair {name} has {rate} Hz; {SAMPLING_RATE} Hz are needed")
    if degraded.shape != clean.shape:
        raise ValueError(f"the pair {name} has {len(degraded)} channels where the clean side has {len(clean)}")
    if not (np.isfinite(clean).all() and np.isfinite(degraded).all()):
        raise ValueError(f"the pair {name} has NaN or infinite samples")
    return degraded, clean * np.float32(pair["level"])
