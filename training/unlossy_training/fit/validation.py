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
    """A clip to listen to: float32 of shape `(channels, samples)` at 44.1 kHz, in each version."""

    input: np.ndarray
    restored: np.ndarray
    original: np.ndarray


class Validation:
    """Measures a model on whole clips, the same at every call. Each process measures its share of them.

    Args:
        pairs: the validation split, from [`load_pairs`].
        count (`int`): number of clips: evenly spread over the split, or the first ones of a stream.
        with_visqol (`bool`): measure ViSQOL, too, which is slow.
        examples (`int`): number of clips to return for listening.

    Attributes:
        failures (list of `str`): why clips could not be used in the last call of `measure`.
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
        """Measure a model on this process's clips, and gather the figures of all processes.

        Args:
            model: a restorer, or an autoencoder, which gets the clean clips.

        Returns:
            `dict`: means over all clips: the loss and its terms [dB]; by how much a restorer raises SI-SDR at `detail`
                0 and 1 [dB] and ViSQOL at `detail` 1, over the clips that a codec has changed; or the SI-SDR of what an
                autoencoder decodes [dB].
            list of `Example`: in the main process, some clips to listen to.

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
        if np.array_equal(given, clean):  # its SI-SDR is infinite before and after
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


# The bitrates of MP3 that have figures of their own [kbps].
LOW_RATES = (24, 32, 40, 48, 56, 64, 80, 96)
OCTAVES = (2756, 5512, 11025, 22050)  # edges [Hz]


class CellValidation:
    """Measures a detail predictor on cells that were held back: how differently its envelope moves from the original's,
    and how far its level is off, for each bitrate.

    Args:
        folders, config: see [`Cells`].
    """

    def __init__(self, folders: Sequence[str], config: UnlossyConfig):
        self.cells = Cells(folders, "validation", config)
        self.failures: list[str] = []

    def measure(self, model: Network) -> tuple[Figures, list[Example]]:
        """Measure a restorer.

        Returns:
            `dict`: means over pairs: `loss` and its terms; and, for MP3 at each of `LOW_RATES` and for all other pairs,
                `dissimilarity_…` (0 to 1) and `level_…` of each octave (edges in `OCTAVES`), which is by how much the
                spectral holes of the mid are filled too loudly [dB].
            list: empty; cells can't be listened to.
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
        known_hz (`float`): the clean level counts up to this frequency [Hz].
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
