"""Figures that restoration is judged by, as pure functions of audio `(channels, samples)` at 44.1 kHz."""

import functools

import numpy as np
import soxr

SAMPLING_RATE = 44_100  # [Hz]
_RATING_RATE = 48_000  # [Hz] that ViSQOL and Zimtohrli are made for
_FRAMES_AT_ONCE = 1024  # spectra of a long clip as float64 would take gigabytes
LSD_N_FFT, LSD_HOP_LENGTH = 2048, 512  # [samples]
LSD_FLOOR_DB = -80.0  # [dB]
STEP_SECONDS = 0.002  # between the levels that attacks are found in [s]
ATTACK_DB = 20.0  # how much louder it is after an attack than before
BEFORE, AFTER, APART = 10, 3, 50  # 20 ms before an attack, 6 ms from it on, and least distance from the last [steps]
TREBLE_TOP = 18_000.0  # [Hz] above, few adults hear anything
INAUDIBLE_DB = -80.0  # [dB] of the whole: treble as weak as that is below the threshold of hearing
ABSENT_DB = -40.0  # [dB] of the whole: a mid or side as weak as that is inaudible beside the other


def si_sdr(reference: np.ndarray, estimate: np.ndarray) -> float:
    """Scale-invariant signal-to-distortion ratio over all channels together [dB] (https://arxiv.org/abs/1811.02508).

    100 dB stands for no distortion at all, −100 dB for nothing but distortion.

    Raises:
        ValueError: silent reference.
    """
    target = _scale(reference, estimate) * reference.astype(np.float64)
    return _ratio_db(target, estimate - target)


def low_pass(audio: np.ndarray, cutoff_hz: float | None) -> np.ndarray:
    """Audio below a frequency [Hz], by a zero-phase brick wall in the FFT of the whole; `None` lets everything pass.

    Its ringing harms no comparison: what two signals differ by below the cutoff is what the filtered ones differ by.
    """
    if cutoff_hz is None:
        return audio
    spectrum = np.fft.rfft(audio)
    spectrum[..., np.fft.rfftfreq(audio.shape[-1], 1 / SAMPLING_RATE) >= cutoff_hz] = 0
    return np.fft.irfft(spectrum, audio.shape[-1])


def mid_side_sdr(reference: np.ndarray, estimate: np.ndarray) -> tuple[float | None, float | None]:
    """Signal-to-distortion ratio of the mid, (left + right) / 2, and of the side, (left − right) / 2, [dB].

    As [`si_sdr`], but both are scaled by the one factor that fits the whole signal: with a factor for each, a side that
    has become too quiet, which is a narrower stereo image, would count as perfect.

    Returns:
        `None` for what the reference hasn't got (below `ABSENT_DB` of the whole): the side of a mono recording.

    Raises:
        ValueError: silent reference.
    """
    scale = _scale(reference, estimate)
    if len(reference) == 1:
        return _ratio_db(scale * reference, estimate - scale * reference), None
    whole = np.square(reference.astype(np.float64)).sum() / 2  # the energy of mid and side together
    ratios: list[float | None] = []
    for sign in (1, -1):
        wanted, given = ((audio[0] + sign * audio[1]).astype(np.float64) / 2 for audio in (reference, estimate))
        present = np.square(wanted).sum() > whole * 10 ** (ABSENT_DB / 10)
        ratios.append(_ratio_db(scale * wanted, given - scale * wanted) if present else None)
    return ratios[0], ratios[1]


def stereo_width(audio: np.ndarray) -> float | None:
    """Level of the side over the mid's [dB]; `None` for mono, or if either is absent (`ABSENT_DB`)."""
    if len(audio) == 1:
        return None
    mid, side = (float(np.square(audio[0] + sign * audio[1], dtype=np.float64).sum()) for sign in (1, -1))
    if min(mid, side) <= (mid + side) * 10 ** (ABSENT_DB / 10):
        return None
    return 10 * float(np.log10(side / mid))


def width_error(reference: np.ndarray, estimate: np.ndarray) -> float | None:
    """How far the stereo width is off, either way [dB]; `None` where the reference has none."""
    wanted, given = stereo_width(reference), stereo_width(estimate)
    return None if wanted is None or given is None else abs(given - wanted)


def pre_echo(reference: np.ndarray, estimate: np.ndarray) -> float | None:
    """Energy of the error in the 20 ms before an attack, relative to the attack's own [dB], mean over the attacks.

    An attack is where the reference gets louder by `ATTACK_DB` than it was in the 20 ms before. Codecs spread their
    error over a block, and before an attack nothing masks it.

    Returns:
        `None` for a reference without attacks.
    """
    scale = _scale(reference, estimate)
    size = round(STEP_SECONDS * SAMPLING_RATE)
    steps = reference.shape[1] // size

    def energy(audio: np.ndarray) -> np.ndarray:
        whole = np.square(audio[:, : steps * size], dtype=np.float64).sum(axis=0)
        return whole.reshape(steps, size).sum(axis=1)

    levels, errors = energy(reference), energy(estimate / scale - reference)
    least, last, ratios = 1e-6 * levels.max(), -APART, []
    for step in range(BEFORE + 1, steps - AFTER + 1):
        before = slice(step - 1 - BEFORE, step - 1)  # the step between holds the attack's first part
        if levels[step] > max(levels[before].mean() * 10 ** (ATTACK_DB / 10), least) and step - last >= APART:
            ratios.append(errors[before].mean() / levels[step : step + AFTER].mean())
            last = step
    return 10 * float(np.log10(max(np.mean(ratios), 1e-10))) if ratios else None


def _scale(reference: np.ndarray, estimate: np.ndarray) -> float:
    """The factor on the reference that brings it closest to the estimate."""
    target, given = reference.astype(np.float64).ravel(), estimate.astype(np.float64).ravel()
    energy = float(target @ target)
    if energy == 0:
        raise ValueError("SI-SDR is not defined for a silent reference.")
    return float(given @ target) / energy


def _ratio_db(signal: np.ndarray, distortion: np.ndarray) -> float:
    signal_energy, distortion_energy = (float(np.square(x, dtype=np.float64).sum()) for x in (signal, distortion))
    ratio = signal_energy / max(distortion_energy, 1e-30)
    return float(np.clip(10 * np.log10(max(ratio, 1e-30)), -100, 100))


def log_spectral_distance(
    reference: np.ndarray,
    estimate: np.ndarray,
    n_fft: int = LSD_N_FFT,
    hop_length: int = LSD_HOP_LENGTH,
    floor_db: float = LSD_FLOOR_DB,
) -> float:
    """Root mean square over bins, mean over frames and channels, of the difference in level [dB].

    Args:
        n_fft (`int`, defaults to 2048): length of the Hann window [samples].
        hop_length (`int`, defaults to 512): step between frames [samples].
        floor_db (`float`, defaults to -80.0): levels are floored at this, relative to the reference's loudest bin, so
            that inaudible differences don't count [dB].
    """
    wanted, given = (_power(audio, n_fft, hop_length) for audio in (reference, estimate))
    floor = max(wanted.max() * 10 ** (floor_db / 10), 1e-20)
    difference = 10 * np.log10(np.maximum(wanted, floor) / np.maximum(given, floor))
    return float(np.sqrt(np.square(difference).mean(axis=-1)).mean())


def _power(audio: np.ndarray, n_fft: int, hop_length: int) -> np.ndarray:
    """Power of the bins under a Hann window, `(channels, frames, n_fft // 2 + 1)`."""
    window = np.hanning(n_fft + 1)[:-1]
    frames = np.lib.stride_tricks.sliding_window_view(audio, n_fft, axis=-1)[:, ::hop_length]
    starts = range(0, frames.shape[1], _FRAMES_AT_ONCE)
    spectra = (np.fft.rfft(frames[:, start : start + _FRAMES_AT_ONCE] * window) for start in starts)
    return np.concatenate([np.square(np.abs(spectrum)).astype(np.float32) for spectrum in spectra], axis=1)


def treble_level(
    reference: np.ndarray, estimate: np.ndarray, cutoff_hz: float | None, edge_hz: float | None = None
) -> float | None:
    """How much louder (+) or quieter (−) than the reference's the treble above a cutoff is [dB].

    The mean over bands, about a third of an octave wide, of the difference in long-term level: that of all channels
    together over the whole length, by Welch's method (https://doi.org/10.1109/TAU.1967.1161901). Levels are floored
    `INAUDIBLE_DB` below the reference's whole: what neither has doesn't count, nor does what nobody hears.

    Args:
        cutoff_hz (`float` or `None`): where the bands begin, the cutoff of what was restored [Hz].
        edge_hz (`float`, *optional*): where they end, if that is below `TREBLE_TOP` [Hz].

    Returns:
        `None` for a full band, and where less than half a band lies above the cutoff.
    """
    top = min(edge_hz or TREBLE_TOP, TREBLE_TOP)
    bands = 0 if cutoff_hz is None else round(3 * np.log2(top / cutoff_hz))
    if cutoff_hz is None or bands < 1:
        return None
    bins = np.ceil(np.geomspace(cutoff_hz, top, bands + 1) * LSD_N_FFT / SAMPLING_RATE).astype(int)
    spectra = [_power(audio, LSD_N_FFT, LSD_N_FFT // 2).mean(axis=(0, 1)) for audio in (reference, estimate)]
    floor = max(spectra[0].sum() * 10 ** (INAUDIBLE_DB / 10), 1e-20)
    wanted, given = (np.maximum(np.add.reduceat(power[: bins[-1]], bins[:-1]), floor) for power in spectra)
    return float(10 * np.log10(given / wanted).mean())


def visqol(reference: np.ndarray, estimate: np.ndarray) -> float:
    """Perceived quality, 1 … 4.73, of the mono downmix (ViSQOL v3 in audio mode, https://arxiv.org/abs/2004.09584).

    Raises:
        ValueError: shorter than about a second, or silence on either side.
    """
    if not (reference.sum(axis=0).any() and estimate.sum(axis=0).any()):
        raise ValueError("ViSQOL is not defined for silence.")
    mono = (_downmix(audio).astype(np.float64) for audio in (reference, estimate))
    return float(_visqol().measure_from_arrays(*mono, _RATING_RATE).moslqo)


@functools.cache
def _visqol():
    from visqol import VisqolApi

    api = VisqolApi()
    api.create(mode="audio")
    return api


def zimtohrli(reference: np.ndarray, estimate: np.ndarray) -> float:
    """Perceived quality, 1 … 5, of the mono downmix: the opinion score that belongs to Zimtohrli's distance
    (https://github.com/google/zimtohrli). It is no part of any training.

    Raises:
        ValueError: shorter than 0.1 s, at which the library crashes.
    """
    from zimtohrli import mos_from_signals

    if reference.shape[1] < 0.1 * SAMPLING_RATE:
        raise ValueError(f"Zimtohrli takes 0.1 s or more, not {reference.shape[1] / SAMPLING_RATE:.3f} s.")
    return float(mos_from_signals(*(_downmix(audio) for audio in (reference, estimate))))


def _downmix(audio: np.ndarray) -> np.ndarray:
    return soxr.resample(audio.mean(axis=0), SAMPLING_RATE, _RATING_RATE)
