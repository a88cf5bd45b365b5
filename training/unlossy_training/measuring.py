"""Measures one clip: input, restored and baselines against the original, each figure kept for the next time."""

import functools
import hashlib
import importlib.metadata
import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import unlossy
from unlossy.configuration_unlossy import UnlossyConfig
from unlossy.information import measure_cutoff
from unlossy.modeling_unlossy import UnlossyModel
from unlossy.restoration_unlossy import load_model, restore

from .baselines import copy_up, oracle_noise
from .cases import Case
from .metrics import (
    SAMPLING_RATE,
    log_spectral_distance,
    low_pass,
    mid_side_sdr,
    pre_echo,
    si_sdr,
    visqol,
    width_error,
)

INPUT = "input"
DETAILS = {"detail 0": 0.0, "detail 1": 1.0}
BASELINES = ("copy-up", "oracle noise")
METRICS = {  # and how they are headed in tables and plots
    "visqol": "ViSQOL",
    "si_sdr": "SI-SDR [dB]",
    "si_sdr_below_cutoff": "SI-SDR below the cutoff [dB]",
    "lsd": "LSD [dB]",
    "sdr_mid": "SDR of the mid [dB]",
    "sdr_side": "SDR of the side [dB]",
    "width_error": "stereo width, off by [dB]",
    "pre_echo": "pre-echo [dB]",
}

Figures = dict[str, float | None]


@dataclass(frozen=True)
class Setup:
    """What is the same for all clips.

    Attributes:
        model (`str`, *optional*): Hub id or folder; the checkpoint in the package by default.
        cache (`Path`): folder for the figures.
        fingerprint (`str`): of the model, see [`fingerprint`].
        code (`str`): see [`code_version`].
        baselines, visqol (`bool`): whether they are measured too.
    """

    model: str | None
    cache: Path
    fingerprint: str
    code: str
    baselines: bool = False
    visqol: bool = True

    @property
    def versions(self) -> tuple[str, ...]:
        return (INPUT, *DETAILS, *(BASELINES if self.baselines else ()))


def prepare(model: str | None, cache: Path, *, baselines: bool = False, visqol: bool = True) -> Setup:
    """
    Raises:
        ValueError: no such model.
        OSError: the cache can't be made.
    """
    cache.mkdir(parents=True, exist_ok=True)
    return Setup(model, cache, fingerprint(_load(model)), code_version(), baselines, visqol)


def fingerprint(model: UnlossyModel) -> str:
    """Hash of a model's configuration and weights, wherever it was loaded from."""
    config = model.config.to_dict()
    # The network's own fields: what transformers adds (auto_map, dtype …) depends on how a checkpoint was saved.
    fields = {name: config[name] for name in sorted(UnlossyConfig.__annotations__) if name in config}
    digest = hashlib.sha256(json.dumps(fields, default=str).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.float().cpu().numpy().tobytes())
    return digest.hexdigest()


def code_version() -> str:
    """Hash of the code and the encoders that figures depend on: a number kept by hand would be forgotten."""
    here = Path(__file__).parent
    files = sorted(Path(unlossy.__file__).parent.glob("*.py"))
    files += [here / name for name in ("baselines.py", "cases.py", "measuring.py", "metrics.py")]
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files))
    for library in ("av", "soundfile", "soxr", "torch"):
        digest.update(importlib.metadata.version(library).encode())
    return digest.hexdigest()


def recall(case: Case, setup: Setup) -> dict[str, Any] | None:
    """What [`measure`] would return, if the cache has all of it.

    Raises:
        ValueError: the clip can't be read.
    """
    digest = case.digest()
    found = {version: _read(_entry(digest, case, version, setup), setup) for version in setup.versions}
    figures = {version: known for version, known in found.items() if known is not None}
    return _row(case, figures) if len(figures) == len(found) else None


def measure(case: Case, setup: Setup) -> dict[str, Any]:
    """Measure what the cache doesn't know of a clip.

    Returns:
        `dict` with `clip`, `codec`, `kbps`, and `figures`: for each of `setup.versions` a value for each of `METRICS`,
            `None` where it isn't defined. The input's also have `cutoff_hz`, `None` for a full band.

    Raises:
        ValueError: the clip can't be read or measured.
    """
    digest = case.digest()
    entries = {version: _entry(digest, case, version, setup) for version in setup.versions}
    figures = {version: _read(entry, setup) for version, entry in entries.items()}
    if None not in figures.values():
        return _row(case, figures)
    clean, degraded = case.audio()
    cutoff_hz = measure_cutoff(degraded, SAMPLING_RATE)
    for version in (version for version, known in figures.items() if known is None):
        audio = _make(version, degraded, cutoff_hz, clean, setup)
        values = compare(clean, audio, cutoff_hz, with_visqol=setup.visqol)
        figures[version] = values | ({"cutoff_hz": cutoff_hz} if version == INPUT else {})
        _write(entries[version], {"clip": case.clip, "version": version, "figures": figures[version]})
    return _row(case, figures)


def compare(clean: np.ndarray, audio: np.ndarray, cutoff_hz: float | None, *, with_visqol: bool = True) -> Figures:
    """The `METRICS` of audio of shape `(channels, samples)` at 44.1 kHz; `cutoff_hz` is the input's [Hz]."""
    mid, side = mid_side_sdr(clean, audio)
    return {
        **({"visqol": visqol(clean, audio)} if with_visqol else {}),
        "si_sdr": si_sdr(clean, audio),
        "si_sdr_below_cutoff": si_sdr(low_pass(clean, cutoff_hz), low_pass(audio, cutoff_hz)),
        "lsd": log_spectral_distance(clean, audio),
        "sdr_mid": mid,
        "sdr_side": side,
        "width_error": width_error(clean, audio),
        "pre_echo": pre_echo(clean, audio),
    }


def restored(degraded: np.ndarray, setup: Setup, detail: float) -> np.ndarray:
    """`(channels, samples)` at 44.1 kHz to the same, by the model of the setup."""
    return np.asarray(restore(degraded, _load(setup.model), sampling_rate=SAMPLING_RATE, detail=detail).audio)


def _make(version: str, degraded: np.ndarray, cutoff_hz: float | None, clean: np.ndarray, setup: Setup) -> np.ndarray:
    if version in DETAILS:
        return restored(degraded, setup, DETAILS[version])
    if version == "copy-up":
        return copy_up(degraded, cutoff_hz)
    if version == "oracle noise":
        return oracle_noise(degraded, cutoff_hz, clean)
    return degraded


def _row(case: Case, figures: dict[str, Any]) -> dict[str, Any]:
    return {"clip": case.clip, "codec": case.codec, "kbps": case.kbps, "figures": figures}


def _entry(digest: str, case: Case, version: str, setup: Setup) -> Path:
    model = setup.fingerprint if version in DETAILS else ""  # a new checkpoint changes nothing for input and baselines
    key = json.dumps([digest, case.codec, case.kbps, version, model, setup.code])
    return setup.cache / f"{hashlib.sha256(key.encode()).hexdigest()}.json"


def _read(entry: Path, setup: Setup) -> Figures | None:
    try:
        figures: Figures = json.loads(entry.read_text())["figures"]
    except (OSError, ValueError, KeyError):
        return None
    if setup.visqol:
        return figures if "visqol" in figures else None
    return {name: value for name, value in figures.items() if name != "visqol"}


def _write(entry: Path, content: dict[str, Any]) -> None:
    """Whole or not at all, whoever else writes it."""
    temporary = entry.with_suffix(f".{secrets.token_hex(4)}")
    temporary.write_text(json.dumps(content, indent=1) + "\n")
    os.replace(temporary, entry)


_load = functools.cache(functools.partial(load_model, device="cpu"))  # once a process
