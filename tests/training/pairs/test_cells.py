"""Cells: what is stored is what the model sees, equalisers move both sides alike, and training learns from it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from signals import RATE, TINY, noise

pytest.importorskip("datasets")

from unlossy import UnlossyConfig, UnlossyModel
from unlossy_training.corpus.recordings import flac
from unlossy_training.fit.config import FitConfig
from unlossy_training.fit.fit import fit
from unlossy_training.fit.validation import CellValidation
from unlossy_training.pairs.cells import PLANES, Cells, CellSegments, cell_pair, equaliser, main
from unlossy_training.pairs.dataset import build, write_shards

CONFIG = UnlossyConfig()


def row(seed: int, split: str = "train", kbps: int = 64) -> dict[str, Any]:
    """A pair of two seconds whose degraded side is 6 dB quieter, as one of MP3."""
    clean = noise(2 * RATE, seed=seed)
    about = {"codec": "mp3", "bitrate_kbps": kbps, "mode": "joint", "offset_samples": 0, "cutoff_hz": None}
    about |= {"level": 0.5, "edge_hz": None}
    about |= dict.fromkeys(("genre", "title", "source", "license"), "")
    files = {"clean": {"bytes": flac(clean), "path": f"{seed}.flac"}}
    files["degraded"] = {"bytes": flac(clean / 2), "path": f"{seed}-degraded.flac"}
    return files | about | {"split": split}


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cells")
    (folder / "pairs").mkdir()
    write_shards([row(0), row(1), row(2, "validation", 24)], folder / "pairs")
    main(["--pairs", str(folder / "pairs"), "--output", str(folder / "cells")])
    return folder / "cells"


def test_what_is_stored_is_what_the_model_sees(cells: Path) -> None:
    stored = Cells([str(cells)], "train", CONFIG)
    assert len(stored.rows) == 2
    assert stored.rows[0]["kbps"] == 64
    planes, about = cell_pair(row(0), CONFIG)
    read = stored.planes(stored.rows[0], 0, about["frames"])
    assert read.shape == (about["frames"], len(PLANES), len(CONFIG.cell_widths), 2)
    assert torch.equal(read, torch.from_numpy(planes).float())
    # The clean side is brought to the degraded one's level, which is no degradation.
    assert (read[:, 0] - read[:, 2]).abs().max() < 0.09


def test_clips_are_encoded_on_the_way(tmp_path: Path) -> None:
    """The cells of clips are those of the dataset that they would make, variations included."""
    clips = tmp_path / "clips"
    clips.mkdir()
    rows = []
    for number, split in enumerate(("train", "validation")):
        (clips / f"{number}.flac").write_bytes(flac(noise(2 * RATE, seed=number)))
        rows.append(f"{number}.flac,music,noise {number},CC0-1.0,{split},somebody,mp3,32")
    header = "file,source,title,license,split,attribution,codec,bitrate_kbps"
    (clips / "clips.csv").write_text("\n".join([header, *rows]))
    build(clips, tmp_path / "pairs", variations=1)
    main(["--pairs", str(tmp_path / "pairs"), "--output", str(tmp_path / "from_pairs")])
    main(["--clips", str(clips), "--variations", "1", "--output", str(tmp_path / "from_clips")])
    for name in ("train.csv", "train.f16", "validation.csv", "validation.f16"):
        assert (tmp_path / "from_clips" / name).read_bytes() == (tmp_path / "from_pairs" / name).read_bytes()
    assert len(Cells([str(tmp_path / "from_clips")], "train", CONFIG).rows) == 2
    owners = json.loads((tmp_path / "from_clips" / "counts.json").read_text())["owners"]
    assert owners == [{"license": "CC0-1.0", "attribution": "somebody"}]


def test_segments_are_deterministic(cells: Path) -> None:
    """A segment is the same whenever it is drawn."""
    segments = CellSegments(Cells([str(cells)], "train", CONFIG), 64, 0, CONFIG)
    first, again, other = segments[3], segments[3], segments[4]
    assert torch.equal(first["level"], again["level"])
    assert not torch.equal(first["level"], other["level"])
    assert first["level"].shape == (64, len(CONFIG.cell_widths), 2)
    # Equal before, and through the same equaliser.
    assert (first["level"] - first["clean_level"]).abs().max() < 0.2


def test_equalisers_differ_by_what_mastering_does() -> None:
    octaves = np.linspace(-5, 4.4, 80)
    gains = np.stack([equaliser(octaves, np.random.default_rng(seed)) for seed in range(200)])
    slopes = (gains[:, -20:].mean(axis=1) - gains[:, :20].mean(axis=1)) / 7
    assert slopes.min() < -2
    assert slopes.max() > 2
    assert np.abs(gains).max() < 60


def test_nothing_stays_nothing(cells: Path) -> None:
    stored = Cells([str(cells)], "train", CONFIG)
    stored.maps = [np.full_like(stored.maps[0], -120)]
    drawn = CellSegments(stored, 64, 0, CONFIG)[0]
    assert drawn["level"].unique().tolist() == pytest.approx([-120], abs=0.1)


def test_fit_learns_from_cells(cells: Path, tmp_path: Path) -> None:
    config = FitConfig(
        cells=[str(cells)], output=str(tmp_path / "detail"), part="detail", schedule="constant", max_steps=4,
        batch_size=2, segment_seconds=0.5, workers=0, log_every=2, validate_every=4, save_every=4,
        model=TINY | {"refiner_size": 8},
    )  # fmt: skip
    assert fit(config)
    lines = [json.loads(line) for line in (tmp_path / "detail" / "log.jsonl").read_text().splitlines()]
    assert {"validation_dissimilarity", "validation_dissimilarity_mp3_24"} <= lines[-1].keys()
    model = UnlossyModel.from_pretrained(tmp_path / "detail")
    figures, _ = CellValidation([str(cells)], model.config).measure(model)
    assert figures["loss"] == pytest.approx(lines[-1]["validation_loss"], rel=1e-4)


def test_level_errors(cells: Path) -> None:
    """An untrained model fills nothing: where everything above 11 kHz is lost, its level is far too low."""
    validation = CellValidation([str(cells)], CONFIG)
    start = validation.cells.rows[0]["start"]
    lost = np.array(validation.cells.maps[0])
    lost[start:, :2, 60:] = -120, 0
    validation.cells.maps[0] = lost
    figures, _ = validation.measure(UnlossyModel(UnlossyConfig(detail_size=16)))
    assert figures["level_mp3_24_22050"] < -20
    assert "level_mp3_24_5512" not in figures


def test_errors_name_what_is_wrong(cells: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no cells made by"):
        Cells([str(tmp_path)], "train", CONFIG)
    with pytest.raises(ValueError, match="cell_width"):
        Cells([str(cells)], "train", UnlossyConfig(cell_width=8))
    with pytest.raises(ValueError, match="lower segment_seconds"):
        CellSegments(Cells([str(cells)], "train", CONFIG), 10_000, 0, CONFIG)
    with pytest.raises(ValueError, match="give pairs, or"):
        FitConfig(output="x", max_steps=1).check()
    with pytest.raises(ValueError, match="part all learns from audio"):
        FitConfig(output="x", max_steps=1, cells=["y"]).check()
