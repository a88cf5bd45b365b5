"""Validation during training: whole clips, restored as a user would, measured against their originals."""

import itertools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import datasets
import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor

from unlossy import UnlossyConfig, UnlossyModel, restore
from unlossy.hub.detail_unlossy import Missing, energy_of_noise, find_missing
from unlossy.hub.spectral_unlossy import cell_power, inaudible_energy
from unlossy.metrics import SAMPLING_RATE, si_sdr, visqol

from ..pairs.cells import Cells
from ..pairs.segments import read_pair

Figures = dict[str, float]


@dataclass
class Example:
    """A clip to listen to, each version of shape `(channels, samples)`."""

    input: np.ndarray
    restored: np.ndarray
    original: np.ndarray


class Validation:
    """The same clips at every call; each process measures its share.

    Args:
        pairs: split with the columns `clean` and `degraded`.
        count (`int`): clips, evenly spread over the split, or the first of a stream.
        restores (`bool`): degraded audio goes in; otherwise the clean one, as for a compressor.
        with_visqol (`bool`): measure ViSQOL too.
        examples (`int`): clips to keep for listening.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        pairs: "datasets.Dataset | datasets.IterableDataset",
        count: int,
        *,
        restores: bool = True,
        with_visqol: bool = False,
        examples: int = 0,
    ):
        self.restores, self.with_visqol = restores, with_visqol
        if isinstance(pairs, datasets.IterableDataset):
            rows = list(itertools.islice(pairs, count))
        else:
            chosen = dict.fromkeys(round(i * (len(pairs) - 1) / max(count - 1, 1)) for i in range(count))
            rows = [pairs[number] for number in chosen]
        own = slice(accelerator.process_index, None, accelerator.num_processes)
        self.rows = list(enumerate(rows))[own]
        self.examples = examples if accelerator.is_main_process else 0
        self.failures: list[str] = []
        self._input_figures: dict[int, Figures] = {}

    def measure(self, model: UnlossyModel) -> tuple[Figures, list[Example]]:
        """
        Returns:
            means over the clips of all processes: loss and terms [dB]; by how much the model raises SI-SDR at detail 0
            and 1 [dB] and ViSQOL at detail 1, untouched clips left aside, or, of a compressor, SI-SDR as it is. And, in
            the main process, examples.

        Raises:
            ValueError: not one clip can be used.
        """
        values: dict[str, list[float]] = defaultdict(list)
        examples: list[Example] = []
        self.failures = []
        for number, row in self.rows:
            try:
                degraded, clean = read_pair(row)
                figures, restored = self._measure_clip(model, number, degraded if self.restores else clean, clean)
            except ValueError as error:
                self.failures.append(str(error))
                continue
            for name, value in figures.items():
                values[name].append(value)
            if len(examples) < self.examples:
                examples.append(Example(degraded, restored, clean))
        merged: dict[str, list[float]] = defaultdict(list)
        for share in gather_object([dict(values)]):
            for name, numbers in share.items():
                merged[name] += numbers
        if not merged:
            raise ValueError(f"no clip for validation can be used; the first: {[*self.failures, 'no clips'][0]}")
        return {name: float(np.mean(numbers)) for name, numbers in merged.items()}, examples

    def _measure_clip(
        self, model: UnlossyModel, number: int, given: np.ndarray, clean: np.ndarray
    ) -> tuple[Figures, np.ndarray]:
        tensors = {"input_values": torch.from_numpy(given), "labels": torch.from_numpy(clean)}
        with torch.no_grad():
            batch: dict[str, Any] = {name: tensor[None].to(model.device) for name, tensor in tensors.items()}
            output = model(**batch, detail=0.0)
        figures = {"loss": output.loss.item(), **{name: term.item() for name, term in output.loss_terms.items()}}
        restored = {
            detail: np.asarray(restore(given, model, sampling_rate=SAMPLING_RATE, detail=detail).audio)
            for detail in (0, 1)
        }
        if not self.restores:
            return figures | {f"si_sdr_{detail}": si_sdr(clean, restored[detail]) for detail in (0, 1)}, restored[1]
        if np.array_equal(given, clean):  # SI-SDR has nothing to say about what was perfect
            return figures, restored[1]
        if number not in self._input_figures:
            self._input_figures[number] = {"si_sdr": si_sdr(clean, given)}
            if self.with_visqol:
                self._input_figures[number]["visqol"] = visqol(clean, given)
        before = self._input_figures[number]
        for detail in (0, 1):
            figures[f"si_sdr_delta_{detail}"] = si_sdr(clean, restored[detail]) - before["si_sdr"]
        if self.with_visqol:
            figures["visqol_delta_1"] = visqol(clean, restored[1]) - before["visqol"]
        return figures, restored[1]


# Bitrates of MP3 that figures are given for [kbps].
LOW_RATES = (24, 32, 40, 48, 56, 64, 80, 96)
OCTAVES = (2756, 5512, 11025, 22050)  # edges [Hz]


class CellValidation:
    """The predictor against cells that were held back: how differently its envelope moves, and how far its level is
    off, for each codec and bitrate.

    Args:
        folders, config: see [`Cells`].
    """

    def __init__(self, folders: Sequence[str], config: UnlossyConfig):
        self.cells = Cells(folders, "validation", config)
        self.failures: list[str] = []

    def measure(self, model: UnlossyModel) -> tuple[Figures, list[Example]]:
        """
        Returns:
            means over pairs: `loss` and its terms; for MP3 at each of `LOW_RATES` and for all other pairs,
            `dissimilarity_…` (0 … 1) and `level_…` for each octave (edges `OCTAVES`): by how much the level of the
            treble is too high [dB], over the cells of the mid that the codec left empty. No examples.
        """
        values: dict[str, list[float]] = defaultdict(list)
        for row in self.cells.rows:
            level, unevenness, wanted = self.cells.planes(row, 0, row["frames"])[None].unbind(2)
            with torch.no_grad():
                output = model.detail_loss(level, unevenness, wanted, torch.tensor([row["known_hz"]]))
                missing = find_missing(level, unevenness, model.detail_head, model.config, None)
            kind = f"{row['codec']}_{row['kbps']}" if row["codec"] == "mp3" and row["kbps"] in LOW_RATES else "other"
            assert output.loss is not None
            terms = {"loss": output.loss, **(output.loss_terms or {})}
            for name, term in (*terms.items(), (f"dissimilarity_{kind}", terms["dissimilarity"])):
                values[name].append(term.item())
            for octave, decibels in level_errors(missing, wanted, row["known_hz"], model.config).items():
                values[f"level_{kind}_{octave}"].append(decibels)
        return {name: float(np.mean(numbers)) for name, numbers in sorted(values.items())}, []


def level_errors(missing: Missing, wanted: Tensor, known_hz: float, config: UnlossyConfig) -> dict[int, float]:
    """Mean error of the level [dB] that the cells of the mid are filled to which a codec left empty, in each octave.

    Args:
        wanted (`Tensor` of shape `(B, T, cells, 2)`): level of the clean signal, see [`cell_levels`].
        known_hz (`float`): up to where it is to be believed [Hz].
    """
    filled = missing.energy + energy_of_noise(missing, missing.deficit, config)
    target = cell_power(wanted, config.n_fft)
    floor = inaudible_energy(target) + 1e-6
    error = 10 * torch.log10((filled + floor) / (target + floor))[..., 0]
    empty = (missing.energy < missing.present)[..., 0]
    top = torch.tensor(config.cell_widths).cumsum(0) * (config.sampling_rate / config.n_fft)
    errors = {}
    for low, high in pairwise(OCTAVES):
        chosen = empty & (top > low) & (top <= min(high, known_hz))
        if chosen.any():
            errors[high] = error[chosen].mean().item()
    return errors
