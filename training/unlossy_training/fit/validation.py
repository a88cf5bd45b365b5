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

from unlossy import UnlossyAutoencoder, UnlossyConfig, UnlossyModel, decode, encode, restore
from unlossy.hub.cells_unlossy import masked_energy
from unlossy.metrics import SAMPLING_RATE, si_sdr, visqol

from ..hub_files import Network
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
        with_visqol (`bool`): measure ViSQOL too.
        examples (`int`): clips to keep for listening.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        pairs: "datasets.Dataset | datasets.IterableDataset",
        count: int,
        *,
        with_visqol: bool = False,
        examples: int = 0,
    ):
        self.with_visqol = with_visqol
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

    def measure(self, model: Network) -> tuple[Figures, list[Example]]:
        """
        Args:
            model: a restorer, or an autoencoder, which gets the clean clips.

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
                if isinstance(model, UnlossyModel):
                    figures, restored = self._measure_restored(model, number, degraded, clean)
                else:
                    figures, restored = self._measure_decoded(model, clean)
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

    def _measure_restored(
        self, model: UnlossyModel, number: int, given: np.ndarray, clean: np.ndarray
    ) -> tuple[Figures, np.ndarray]:
        figures = _losses(model, given, clean)
        restored = {
            detail: np.asarray(restore(given, model, sampling_rate=SAMPLING_RATE, detail=detail).audio)
            for detail in (0, 1)
        }
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

    def _measure_decoded(self, model: UnlossyAutoencoder, clean: np.ndarray) -> tuple[Figures, np.ndarray]:
        embedding = encode(clean, model, sampling_rate=SAMPLING_RATE)
        decoded = {detail: np.asarray(decode(embedding, model, detail=detail).audio) for detail in (0, 1)}
        figures = {f"si_sdr_{detail}": si_sdr(clean, audio) for detail, audio in decoded.items()}
        return _losses(model, clean, clean) | figures, decoded[1]


@torch.no_grad()
def _losses(model: Network, given: np.ndarray, clean: np.ndarray) -> Figures:
    """Loss of a clip and its terms."""
    batch: dict[str, Any] = {
        name: torch.from_numpy(audio)[None].to(model.device)
        for name, audio in (("input_values", given), ("labels", clean))
    }
    output = model(**batch, detail=0.0)
    return {"loss": output.loss.item(), **{name: term.item() for name, term in output.loss_terms.items()}}


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

    def measure(self, model: Network) -> tuple[Figures, list[Example]]:
        """
        Args:
            model: a restorer.

        Returns:
            means over pairs: `loss` and its terms; for MP3 at each of `LOW_RATES` and for all other pairs,
            `dissimilarity_…` (0 … 1) and `level_…` for each octave (edges `OCTAVES`): by how much the level of the
            treble is too high [dB], over the cells of the mid that the codec left empty. No examples.
        """
        assert isinstance(model, UnlossyModel)
        values: dict[str, list[float]] = defaultdict(list)
        for row in self.cells.rows:
            level, flatness, clean_level = self.cells.planes(row, 0, row["frames"])[None].unbind(2)
            with torch.no_grad():
                output = model.detail_loss(level, flatness, clean_level, torch.tensor([row["known_hz"]]))
            kind = f"{row['codec']}_{row['kbps']}" if row["codec"] == "mp3" and row["kbps"] in LOW_RATES else "other"
            assert output.loss is not None
            terms = {"loss": output.loss, **(output.loss_terms or {})}
            for name, term in (*terms.items(), (f"dissimilarity_{kind}", terms["dissimilarity"])):
                values[name].append(term.item())
            for octave, decibels in level_errors(model, level, flatness, clean_level, row["known_hz"]).items():
                values[f"level_{kind}_{octave}"].append(decibels)
        return {name: float(np.mean(numbers)) for name, numbers in sorted(values.items())}, []


@torch.no_grad()
def level_errors(
    model: UnlossyModel, level: Tensor, flatness: Tensor, clean_level: Tensor, known_hz: float
) -> dict[int, float]:
    """Mean error of the level [dB] that the spectral holes of the mid are filled to, in each octave.

    Args:
        level, flatness, clean_level (`Tensor` of shape `(B, T, cells, 2)`): see [`UnlossyModel.detail_loss`] [dB].
        known_hz (`float`): up to where the clean level is to be believed [Hz].
    """
    cells = model.detail_head(level, flatness)
    filled = cells.energy + model.fill.noise_energy(cells, cells.deficit)
    target = model.grid.level_energy(clean_level)
    floor = masked_energy(target) + 1e-6
    error = 10 * torch.log10((filled + floor) / (target + floor))[..., 0]
    hole = (cells.energy < cells.reference)[..., 0]
    top = model.grid.edges_hz[1:]
    errors = {}
    for low, high in pairwise(OCTAVES):
        chosen = hole & (top > low) & (top <= min(high, known_hz))
        if chosen.any():
            errors[high] = error[chosen].mean().item()
    return errors
