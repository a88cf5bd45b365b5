"""The cells of pairs, which the detail predictor learns from. They are computed once and memory-mapped, because reading
the cells of a hundred seconds takes no longer than decoding one second of audio.

    unlossy-train cells --pairs pairs/ --output cells/
    unlossy-train cells --clips clips/ --output cells/  # encodes them as `dataset` does, without keeping the audio
    unlossy-train fit training/recipes/unlossy-44khz-detail.yaml --cells cells/ --output detail/

A cell is a few bins of the spectrum of mid or side in one frame (`UnlossyConfig.cell_widths`). The folder has, for each
split, `train.f16` and `train.csv`, and for all of them `cells.json`. The first has the frames of all pairs one after
another in half precision: the level and the spectral flatness of the degraded cells and the level of the clean ones
[dB]. The second has a row for each pair, and the third the fields of the configuration that decide what a cell is. In
shapes, T is the number of frames, see `cells_unlossy.py`.
"""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets.utils.logging import disable_progress_bar
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from unlossy import UnlossyConfig
from unlossy.hub.cells_unlossy import CellGrid
from unlossy.hub.spectral_unlossy import stft, to_mid_side
from unlossy_cli import entry

from ..corpus.recordings import UnusableError
from ..files import whole_folder
from ..hub_files import find_file
from .dataset import VARIATIONS, read_clips, try_pair, vary_clips
from .segments import COLUMNS as PAIR_COLUMNS
from .segments import SKIPPED_START, known_up_to, load_split, read_pair

OWNERS = "counts.json"  # the file of a dataset of pairs that says whose recordings are in it
SPLITS = ("train", "validation")
PLANES = ("level", "flatness", "clean_level")  # what is stored of each frame
FIELDS = ("n_fft", "sampling_rate", "band_counts", "band_widths", "cell_width")  # decide what a cell is
COLUMNS = ("start", "frames", "known_hz", "codec", "kbps", "source")
SILENT = -117.0  # [dB]: what is fainter counts as digital silence, which no gain makes louder
# Random equalisers, the same for both sides of a pair. Masters differ by more than the few works in a corpus do.
LEVEL = (-18.0, 3.0)  # [dB]
TILT = 2.5  # [dB an octave] up or down, about `PIVOT`
PIVOT = 1000.0  # [Hz]
BELL, BELL_CENTRE, BELL_WIDTH = 8.0, (-3.3, 4.3), (0.3, 1.5)  # [dB] up or down, [octaves from the pivot], [octaves]
SHELF, SHELF_EDGE, SHELF_WIDTH = 12.0, (0.0, 4.0), (0.1, 0.5)  # [dB] up or down, [octaves from the pivot], [octaves]


def cells_of(audio: np.ndarray, config: UnlossyConfig) -> tuple[Tensor, Tensor]:
    """Compute level and flatness of audio `(channels, samples)`: both of shape `(T, cells, 2)` [dB], see
    [`CellGrid.levels`]."""
    bins, _ = stft(to_mid_side(torch.from_numpy(audio)[None]), config.n_fft)
    level, flatness = CellGrid.of(config).levels(bins.power())
    return level[0], flatness[0]


def cell_pair(row: dict[str, Any], config: UnlossyConfig) -> tuple[np.ndarray, dict[str, Any]]:
    """Compute the cells of a pair, without the encoder's first frames.

    Args:
        row (`dict`): a row of a dataset of pairs.

    Returns:
        `np.ndarray` of shape `(T, PLANES, cells, 2)`: the cells, in half precision [dB].
        `dict`: `COLUMNS` of the pair, but `start`.

    Raises:
        ValueError: the pair can't be used, see [`read_pair`].
    """
    degraded, clean = (np.ascontiguousarray(side[:, SKIPPED_START:]) for side in read_pair(row))
    level, flatness = cells_of(degraded, config)
    clean_level, _ = cells_of(clean, config)
    planes = torch.stack([level, flatness, clean_level], dim=1)[2:-2]  # frames whose whole window is on audio
    about: dict[str, Any] = {"frames": len(planes), "known_hz": known_up_to(row)}
    about |= {"codec": row.get("codec") or "", "kbps": row.get("bitrate_kbps") or 0, "source": row.get("source") or ""}
    return planes.half().numpy(), about


class EncodedClips:
    """The rows of one split of a dataset, each made from a clip when its turn comes, see [`make_pair`].

    Args:
        folder (`Path`): the folder with the clips and clips.csv.
        split (`str`): the name of the split.
        seed (`int`): decides how each clip is encoded.
        variations (`int`): number of further training pairs of each clip.
    """

    def __init__(self, folder: Path, split: str, seed: int, variations: int):
        self.folder, self.seed = folder, seed
        clips = [clip for clip in read_clips(folder) if clip["split"] == split]
        self.clips = vary_clips(clips, variations) if split == "train" else clips

    def __len__(self) -> int:
        return len(self.clips)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for clip in self.clips:
            pair = try_pair(clip, self.folder, self.seed)
            if isinstance(pair, UnusableError):
                tqdm.write(f"left out: {pair}")
            else:
                yield pair

    def owners(self) -> list[dict[str, str]]:
        """The licences and attributions of the clips, each once."""
        owners = sorted({(clip["license"], clip.get("attribution") or "") for clip in self.clips})
        return [{"license": license, "attribution": attribution} for license, attribution in owners]


def build(splits: Mapping[str, Any], owners: str | None, output: Path, config: UnlossyConfig) -> dict[str, int]:
    """Compute and write the cells of pairs.

    Args:
        splits (`Mapping`): the rows of a dataset of pairs, for each of `SPLITS`.
        owners (`str`, *optional*): the content of the file `OWNERS`.
        output (`Path`): folder for the cells, new or empty.
        config (`UnlossyConfig`): decides what a cell is.

    Returns:
        `dict`: the number of pairs in each split.

    Raises:
        ValueError: `output` is not empty.
    """
    counts = {}
    with whole_folder(output) as folder, torch.inference_mode():
        for split, pairs in splits.items():
            rows, start = [], 0
            with (folder / f"{split}.f16").open("wb") as file:
                for row in tqdm(pairs, desc=split, unit="pair", disable=None):
                    try:
                        planes, about = cell_pair(row, config)
                    except ValueError as error:
                        tqdm.write(f"left out: {error}")
                        continue
                    file.write(planes.tobytes())
                    rows.append({"start": start} | about)
                    start += len(planes)
            with (folder / f"{split}.csv").open("w", newline="") as table:
                writer = csv.DictWriter(table, COLUMNS, lineterminator="\n")
                writer.writeheader()
                writer.writerows(rows)
            counts[split] = len(rows)
        kept = {name: getattr(config, name) for name in FIELDS}
        (folder / "cells.json").write_text(json.dumps(kept, indent=1) + "\n")
        if owners:
            (folder / OWNERS).write_text(owners)
    return counts


class Cells:
    """The memory-mapped cells of a split, from one folder or several.

    Attributes:
        rows (`list` of `dict`): `COLUMNS` of each pair, and `folder`, the number of its folder.

    Raises:
        ValueError: there are no cells, or they were made with another configuration.
    """

    def __init__(self, folders: Sequence[str], split: str, config: UnlossyConfig):
        self.rows: list[dict[str, Any]] = []
        self.maps: list[np.ndarray] = []
        shape = (-1, len(PLANES), len(config.cell_widths), 2)
        for number, folder in enumerate(map(Path, folders)):
            try:
                about = json.loads((folder / "cells.json").read_text())
                with (folder / f"{split}.csv").open(newline="") as table:
                    read = list(csv.DictReader(table))
            except OSError as error:
                raise ValueError(f"{folder} holds no cells made by `unlossy-train cells`: {error}") from error
            if (wanted := json.loads(json.dumps({name: getattr(config, name) for name in FIELDS}))) != about:
                raise ValueError(f"{folder} holds cells of {about}, not of {wanted}")
            self.maps.append(np.memmap(folder / f"{split}.f16", np.float16, "r").reshape(shape))
            for row in read:
                numbers = {name: int(row[name]) for name in ("start", "frames", "kbps")}
                self.rows.append(row | numbers | {"known_hz": float(row["known_hz"]), "folder": number})
        if not self.rows:
            raise ValueError(f"there are no cells in {', '.join(folders)} (split {split!r})")

    def planes(self, row: dict[str, Any], first: int, frames: int) -> Tensor:
        """Read frames of a pair from the `first` on: float32 of shape `(frames, PLANES, cells, 2)` [dB]."""
        start = row["start"] + first
        return torch.from_numpy(self.maps[row["folder"]][start : start + frames].astype(np.float32))


class CellSegments(Dataset):
    """Segments of cells that are drawn at random, each through an equaliser of its own. Like [`Segments`], they depend
    on the seed and their index alone.

    An item has `level`, `flatness` and `clean_level` of shape `(frames, cells, 2)` [dB], `known_hz` [Hz], and an empty
    list of `failures`.

    Args:
        frames (`int`): length of a segment [frames]. Pairs that are shorter are left out.

    Raises:
        ValueError: no pair is long enough.
    """

    def __init__(self, cells: Cells, frames: int, seed: int, config: UnlossyConfig):
        self.cells, self.frames, self.seed, self.config = cells, frames, seed, config
        self.rows = [row for row in cells.rows if row["frames"] >= frames]
        if not self.rows:
            raise ValueError(f"no pair is as long as a segment of {frames} frames: lower segment_seconds")
        edges = CellGrid.of(config).edges_hz.numpy()
        self.octaves = np.log2(np.sqrt(np.maximum(edges[:-1], 20.0) * edges[1:]) / PIVOT)

    def __getitem__(self, index: int) -> dict[str, Any]:
        random = np.random.default_rng((self.seed, index))
        row = self.rows[int(random.integers(len(self.rows)))]
        planes = self.cells.planes(row, int(random.integers(row["frames"] - self.frames + 1)), self.frames)
        level, flatness, clean_level = planes.unbind(1)
        gain = torch.from_numpy(equaliser(self.octaves, random)[:, None])
        level, clean_level = (torch.where(x > SILENT, x + gain, x) for x in (level, clean_level))
        return {
            "level": level, "flatness": flatness, "clean_level": clean_level,
            "known_hz": torch.tensor(row["known_hz"]), "failures": [],
        }  # fmt: skip

    def keys(self, start: int, batch_size: int, process: int = 0, processes: int = 1) -> Iterator[list[int]]:
        """See [`Segments.keys`]."""
        first = start + process * batch_size
        while True:
            yield list(range(first, first + batch_size))
            first += processes * batch_size


def equaliser(octaves: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Draw an equaliser: a level, a tilt, a bell and a shelf.

    Args:
        octaves (`np.ndarray` of shape `(cells,)`): how far each cell is from `PIVOT` [octaves].

    Returns:
        `np.ndarray` of shape `(cells,)`: the gain of each cell, float32 [dB].
    """
    decibels = random.uniform(*LEVEL) + random.uniform(-TILT, TILT) * octaves
    bell = (octaves - random.uniform(*BELL_CENTRE)) / random.uniform(*BELL_WIDTH)
    decibels += random.uniform(-BELL, BELL) * np.exp(-np.square(bell))
    shelf = (octaves - random.uniform(*SHELF_EDGE)) / random.uniform(*SHELF_WIDTH)
    decibels += random.uniform(-SHELF, SHELF) * random.integers(2) / (1 + np.exp(-shelf))
    return decibels.astype(np.float32)


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = entry.Parser(prog="unlossy-train cells", description=__doc__.split("\n\n")[0])
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument("--pairs", help="folder made by `unlossy-train dataset`, or Hub id")
    given.add_argument("--clips", type=Path, help="folder made by `unlossy-train corpus`, to be encoded")
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="folder for the cells")
    parser.add_argument("--variations", metavar="N", type=entry.whole(0), default=0, help=f"of --clips: {VARIATIONS}")
    parser.add_argument("--seed", type=int, default=0, help="decides how --clips are encoded (default 0)")
    options = parser.parse_args(arguments)
    disable_progress_bar()
    torch.set_num_threads(1)  # more threads don't make many short transforms faster
    if options.clips:
        clips = {name: EncodedClips(options.clips, name, options.seed, options.variations) for name in SPLITS}
        splits: dict[str, Any] = dict(clips)
        owners: str | None = json.dumps({"owners": clips["train"].owners()}, indent=1) + "\n"
    else:
        splits = {name: load_split(options.pairs, name, needed=PAIR_COLUMNS) for name in SPLITS}
        found = find_file(options.pairs, OWNERS, repo_type="dataset")
        owners = Path(found).read_text() if found else None
    print(json.dumps(build(splits, owners, options.output, UnlossyConfig())))
