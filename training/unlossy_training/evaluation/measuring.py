"""Measures one clip: the input, what was restored and baselines, against the original. Figures are cached."""

import ast
import contextlib
import functools
import hashlib
import importlib.metadata
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import unlossy
from unlossy import SHIPPED_MODEL, UnlossyAutoencoder
from unlossy.autoencoding import decode, encode
from unlossy.embedding import Embedding, fingerprint_of, from_bytes, to_bytes
from unlossy.hub.restoration_unlossy import restore
from unlossy.inspection import measure_cutoff
from unlossy.metrics import (
    SAMPLING_RATE,
    log_spectral_distance,
    low_pass,
    mid_side_sdr,
    pre_echo,
    si_sdr,
    treble_level,
    visqol,
    width_error,
    zimtohrli,
)
from unlossy_cli.memory import keep_freed_memory

from ..conditions import LOSSLESS
from ..files import write_whole
from ..hub_files import load_network
from .baselines import copy_up, fit_linear, linear_decode, linear_encode, oracle_noise
from .cases import Case, find_recordings

INPUT = "input"
DETAILS = {"detail 0": 0.0, "detail 1": 1.0}
BASELINES = ("copy-up", "oracle noise")
# The versions that an autoencoder makes of an original, by bits per value and `detail`. 32 bits are float values.
EMBEDDED = {
    f"{name}{detail}": (bits, share)
    for bits, name in ((32, ""), (8, "8 bits, "), (4, "4 bits, "))
    for detail, share in DETAILS.items()
}
LINEAR = {"linear": 32, "linear, 8 bits": 8, "linear, 4 bits": 4}  # bits per value
CLIPS_FITTED = 1000  # the most clips that the linear autoencoder is fitted to
METRICS = {  # with their headings in tables and plots
    "visqol": "ViSQOL",
    "zimtohrli": "Zimtohrli",
    "si_sdr": "SI-SDR [dB]",
    "si_sdr_below_cutoff": "SI-SDR below the cutoff [dB]",
    "treble_level": "treble level, error [dB]",
    "lsd": "LSD [dB]",
    "sdr_mid": "SDR of the mid [dB]",
    "sdr_side": "SDR of the side [dB]",
    "width_error": "stereo width, off by [dB]",
    "pre_echo": "pre-echo [dB]",
}

Figures = dict[str, float | None]


@dataclass(frozen=True)
class Setup:
    """What is the same for all clips of an evaluation.

    Attributes:
        model (`str`, *optional*): a Hub id or folder. Without it, the checkpoint in the package.
        cache (`Path`): folder for the figures.
        fingerprint (`str`): identifies the model, see [`fingerprint_of`].
        code (`str`): identifies the code, see [`code_version`].
        baselines, visqol (`bool`): whether they are measured, too.
        compresses (`bool`): whether the model is an autoencoder. Then originals go through its embedding, and codecs
            are what it is compared with.
        linear (`Path`, *optional*): the file of a linear autoencoder to compare it with, see [`prepare`].
    """

    model: str | None
    cache: Path
    fingerprint: str
    code: str
    baselines: bool = False
    visqol: bool = True
    compresses: bool = False
    linear: Path | None = None

    def versions(self, case: Case) -> tuple[str, ...]:
        """The names of the versions of a clip that are measured."""
        if not self.compresses:
            return (INPUT, *DETAILS, *(BASELINES if self.baselines else ()))
        if case.codec != LOSSLESS:
            return (INPUT,)
        return (INPUT, *EMBEDDED, *(LINEAR if self.linear else ()))


def prepare(
    model: str | None, cache: Path, *, baselines: bool = False, visqol: bool = True, linear: Path | None = None
) -> Setup:
    """Prepare an evaluation: identify the model and the code, and fit a linear autoencoder if one is asked for.

    Args:
        model (`str`, *optional*): a Hub id or folder. Without it, the checkpoint in the package.
        cache (`Path`): folder for the figures. It is made if there is none.
        baselines, visqol (`bool`, default to `False` and `True`): whether they are measured, too.
        linear (`Path`, *optional*): folder of training clips that a linear autoencoder is fitted to.

    Raises:
        ValueError: there is no such model, there are no such clips, or the options don't go together.
        OSError: the cache can't be made.
    """
    cache.mkdir(parents=True, exist_ok=True)
    loaded = _load(model)
    compresses = isinstance(loaded, UnlossyAutoencoder)
    if linear and not compresses:
        raise ValueError("a linear autoencoder is no measure of a restorer: leave --linear out")
    if baselines and compresses:
        raise ValueError("copy-up and oracle noise are no measure of an autoencoder: take --linear CLIPS instead")
    fitted = None
    if linear:
        basis = fit_linear(_clips(linear), loaded.config.embedding_size)
        fitted = cache / f"linear-{hashlib.sha256(basis.tobytes()).hexdigest()}.npy"
        np.save(fitted, basis)
    return Setup(model, cache, fingerprint_of(loaded), code_version(), baselines, visqol, compresses, fitted)


def _clips(folder: Path) -> Iterator[np.ndarray]:
    cases = find_recordings(folder, [(LOSSLESS, 0)])
    for case in cases[:: -(-len(cases) // CLIPS_FITTED)]:
        with contextlib.suppress(ValueError):  # the fit can do without a file that is damaged
            yield case.audio()[0]


def code_version() -> str:
    """Hash the code and the versions of the libraries that figures depend on, apart from the model.

    A version number would have to be raised by hand, and be forgotten. Comments, docstrings and formatting don't count.
    """
    here = Path(__file__).parent
    files = sorted(Path(unlossy.__file__).parent.rglob("*.py"))
    files += [here / name for name in ("baselines.py", "cases.py", "measuring.py")]
    digest = hashlib.sha256()
    for file in files:
        digest.update(code_of(file.read_text()).encode())
    for library in ("av", "soundfile", "soxr", "torch", "zimtohrli"):
        digest.update(importlib.metadata.version(library).encode())
    return digest.hexdigest()


def code_of(source: str) -> str:
    """The source of a module without its comments, docstrings and formatting."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            del node.body[0]
    return ast.dump(tree)


def recall(case: Case, setup: Setup) -> dict[str, Any] | None:
    """Return what [`measure`] would, if the cache has all of it, and otherwise `None`.

    Raises:
        ValueError: the clip can't be read.
    """
    digest = case.digest()
    found = {version: _read(_entry(digest, case, version, setup), setup) for version in setup.versions(case)}
    figures = {version: known for version, known in found.items() if known is not None}
    return _row(case, figures) if len(figures) == len(found) else None


def measure(case: Case, setup: Setup) -> dict[str, Any]:
    """Measure a clip, as far as its figures are not in the cache.

    Returns:
        `dict` with `clip`, `codec`, `kbps`, `edge_hz` and `figures`. The latter has, for each of `setup.versions`, a
            value for each of `METRICS`, `None` where it is not defined. The input has `cutoff_hz`, too, which is `None`
            for a full band, and what is compressed has its real bitrate (`kbps`).

    Raises:
        ValueError: the clip can't be read or measured.
    """
    digest = case.digest()
    entries = {version: _entry(digest, case, version, setup) for version in setup.versions(case)}
    figures = {version: _read(entry, setup) for version, entry in entries.items()}
    if None not in figures.values():
        return _row(case, figures)
    clean, degraded, kbps = case.audio()
    cutoff_hz = measure_cutoff(degraded, SAMPLING_RATE)
    maker = _Maker(clean, degraded, cutoff_hz, setup)
    for version in (version for version, known in figures.items() if known is None):
        audio, own_kbps = (degraded, kbps) if version == INPUT else maker.make(version)
        values = compare(clean, audio, cutoff_hz, case.edge_hz, with_visqol=setup.visqol)
        values |= {"cutoff_hz": cutoff_hz} if version == INPUT else {}
        figures[version] = values | ({"kbps": own_kbps} if own_kbps is not None else {})
        entry = {"clip": case.clip, "version": version, "figures": figures[version]}
        write_whole(entries[version], (json.dumps(entry, indent=1) + "\n").encode())
    return _row(case, figures)


def compare(
    clean: np.ndarray,
    audio: np.ndarray,
    cutoff_hz: float | None,
    edge_hz: float | None = None,
    *,
    with_visqol: bool = True,
) -> Figures:
    """Measure the `METRICS` of audio against the original.

    Args:
        clean, audio (`np.ndarray` of shape `(channels, samples)`): the original and what is measured, at 44.1 kHz.
        cutoff_hz (`float` or `None`): the end of the input's spectrum [Hz]; `None` if it is full.
        edge_hz (`float`, *optional*): frequencies above it don't count, on either side [Hz].
        with_visqol (`bool`, defaults to `True`): measure ViSQOL, too, which is slow.
    """
    clean, audio = low_pass(clean, edge_hz), low_pass(audio, edge_hz)
    mid, side = mid_side_sdr(clean, audio)
    return {
        **({"visqol": visqol(clean, audio)} if with_visqol else {}),
        "zimtohrli": zimtohrli(clean, audio),
        "si_sdr": si_sdr(clean, audio),
        "si_sdr_below_cutoff": si_sdr(low_pass(clean, cutoff_hz), low_pass(audio, cutoff_hz)),
        "treble_level": treble_level(clean, audio, cutoff_hz, edge_hz),
        "lsd": log_spectral_distance(clean, audio),
        "sdr_mid": mid,
        "sdr_side": side,
        "width_error": width_error(clean, audio),
        "pre_echo": pre_echo(clean, audio),
    }


def restored(degraded: np.ndarray, setup: Setup, detail: float) -> np.ndarray:
    """Restore audio `(channels, samples)` at 44.1 kHz, or send it through the embedding if the model is an autoencoder.
    The result has the same shape."""
    model = _load(setup.model)
    if setup.compresses:
        return np.asarray(decode(encode(degraded, model, sampling_rate=SAMPLING_RATE), model, detail=detail).audio)
    return np.asarray(restore(degraded, model, sampling_rate=SAMPLING_RATE, detail=detail).audio)


@dataclass
class _Maker:
    """Makes the versions of a clip other than the input. What several of them need is made once."""

    clean: np.ndarray
    degraded: np.ndarray
    cutoff_hz: float | None
    setup: Setup

    def make(self, version: str) -> tuple[np.ndarray, float | None]:
        """Make a version: its audio `(channels, samples)`, and its bitrate [kbps], `None` if it is not compressed."""
        if version in LINEAR:
            basis = np.load(str(self.setup.linear))
            values = linear_encode(self.clean, basis)
            # It is stored in a file like the model's own embedding, but with the same step for all values.
            linear = replace(self.embedding, values=values, envelope_steps=np.ones((1, 0), np.float32))
            kept, kbps = self._keep(linear, LINEAR[version])
            return linear_decode(kept.values, basis, self.clean.shape), kbps
        if self.setup.compresses:
            bits, detail = EMBEDDED[version]
            kept, kbps = self._keep(self.embedding, bits)
            return np.asarray(decode(kept, _load(self.setup.model), detail=detail).audio), kbps
        if version == "copy-up":
            return copy_up(self.degraded, self.cutoff_hz), None
        if version == "oracle noise":
            return oracle_noise(self.degraded, self.cutoff_hz, self.clean), None
        return restored(self.degraded, self.setup, DETAILS[version]), None

    @functools.cached_property
    def embedding(self) -> Embedding:
        return encode(self.clean, _load(self.setup.model), sampling_rate=SAMPLING_RATE)

    def _keep(self, embedding: Embedding, bits: int) -> tuple[Embedding, float]:
        """Store an embedding and read it back. Returns it with the bitrate of its file [kbps]."""
        data = to_bytes(embedding, bits)
        return from_bytes(data), 8 * len(data) / 1000 / embedding.seconds


def _row(case: Case, figures: dict[str, Any]) -> dict[str, Any]:
    return {"clip": case.clip, "codec": case.codec, "kbps": case.kbps, "edge_hz": case.edge_hz, "figures": figures}


def _entry(digest: str, case: Case, version: str, setup: Setup) -> Path:
    # The figures of input and baselines don't depend on the model.
    model = setup.fingerprint if version in EMBEDDED else ""
    if version in LINEAR and setup.linear:
        model = setup.linear.name
    key = json.dumps([digest, case.codec, case.kbps, case.edge_hz, version, model, setup.code])
    return setup.cache / f"{hashlib.sha256(key.encode()).hexdigest()}.json"


def _read(entry: Path, setup: Setup) -> Figures | None:
    try:
        figures: Figures = json.loads(entry.read_text())["figures"]
    except (OSError, ValueError, KeyError):
        return None
    if setup.visqol:
        return figures if "visqol" in figures else None
    return {name: value for name, value in figures.items() if name != "visqol"}


@functools.cache
def _load(model: str | None) -> Any:
    """Load a model, once in each process."""
    keep_freed_memory()
    return load_network(SHIPPED_MODEL if model is None else model)
