"""Datasets of pairs: columns, what is left out and why, whole or not there, the card, and the way to the Hub."""

import base64
import csv
import errno
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from signals import RATE, clip

pytest.importorskip("datasets")
import huggingface_hub
from datasets import load_dataset

from unlossy_training.pairs import dataset
from unlossy_training.pairs.making import decode_pair


def write_clips(folder: Path, count: int, rate: int = RATE) -> list[list[str]]:
    """Clips of 0.6 s. Returns the rows of their table."""
    folder.mkdir()
    rows = []
    for number in range(count):
        name = f"{number:06d}.flac"
        soundfile.write(folder / name, clip(0.6, seed=number, rate=rate).T, rate, subtype="PCM_16")
        split = "validation" if number % 5 == 0 else "train"
        rows.append([name, "rendered", f"piece {number}", "CC-BY-4.0", split, "jazz", "Ann | Bo"])
    write_table(folder, rows)
    return rows


def write_table(folder: Path, rows: list[list[str]]) -> None:
    with (folder / "clips.csv").open("w", newline="") as file:
        header = ["file", "source", "title", "license", "split", "genre", "attribution"]
        csv.writer(file).writerows([header, *rows])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten good clips, a silent one, and one that is there twice."""
    path = tmp_path_factory.mktemp("pairs")
    rows = write_clips(path / "clips", 10)
    soundfile.write(path / "clips" / "silent.flac", np.zeros((RATE, 2)), RATE)
    (path / "clips" / "again.wav").write_bytes(b"")
    soundfile.write(path / "clips" / "again.wav", soundfile.read(path / "clips" / rows[3][0])[0], RATE, "PCM_24")
    write_table(path / "clips", [*rows, ["silent.flac", *rows[0][1:]], ["again.wav", *rows[0][1:]]])
    return path


@pytest.fixture(scope="module")
def counts(folder: Path) -> dict[str, Any]:
    return dataset.build(folder / "clips", folder / "pairs", workers=1)


def test_columns_and_counts(folder: Path, counts: dict[str, Any]) -> None:
    pairs = load_dataset(str(folder / "pairs"), cache_dir=str(folder / "cache"))
    assert (
        counts["split"]
        == {split: len(pairs[split]) for split in ("train", "validation")}
        == {
            "train": 8,
            "validation": 2,
        }
    )
    assert counts["rejected"] == {"duplicate": 1, "silent": 1}
    assert counts["reasons"] == [
        "silent.flac is silent for more than half of its time",
        "again.wav has the samples of 000003.flac",
    ]
    assert json.loads((folder / "pairs" / "counts.json").read_text()) == counts
    assert list(pairs["train"].column_names) == list(dataset.FEATURES)
    assert isinstance(pairs["train"].features["degraded"], dataset.Audio)  # the Hub's viewer plays it
    for row in pairs["train"]:
        assert (row["offset_samples"], row["genre"], row["license"]) == (0, "jazz", "CC-BY-4.0")
        degraded, clean = decode_pair(row)
        assert (row["codec"] == "identity") == np.array_equal(degraded, clean)
    assert not (folder / "pairs.unfinished").exists()


def test_card(folder: Path, counts: dict[str, Any]) -> None:
    card = huggingface_hub.DatasetCard.load(folder / "pairs" / "README.md")
    assert card.data.license == ["cc-by-4.0"]
    files = card.data["configs"][0]["data_files"]
    assert [entry["path"] for entry in files] == ["train-*.parquet", "validation-*.parquet"]
    assert "| CC-BY-4.0 | Ann \\| Bo | 10 |" in card.text
    assert "| train | 8 | 0.00 |" in card.text
    assert "1 duplicate, 1 silent" in card.text


def test_workers_change_nothing(folder: Path, counts: dict[str, Any], tmp_path: Path) -> None:
    assert dataset.build(folder / "clips", tmp_path / "pairs", workers=2) == counts
    for split in ("train", "validation"):
        one, two = (
            load_dataset(str(path / "pairs"), split=split, cache_dir=str(tmp_path / "cache"))
            for path in (folder, tmp_path)
        )
        for first, second in zip(one, two, strict=True):
            np.testing.assert_array_equal(decode_pair(first)[0], decode_pair(second)[0])
            first.pop("degraded"), second.pop("degraded")
            assert first == second


def test_variations_are_for_training_alone(folder: Path, counts: dict[str, Any], tmp_path: Path) -> None:
    dataset.main(["--clips", str(folder / "clips"), "--output", str(tmp_path / "pairs"), "--variations", "2"])
    varied = json.loads((tmp_path / "pairs" / "counts.json").read_text())
    assert varied["split"] == {"train": 3 * counts["split"]["train"], "validation": counts["split"]["validation"]}
    with pytest.raises(ValueError, match="variations must be 0 or more, got -1"):
        dataset.build(folder / "clips", tmp_path / "none", variations=-1)


def test_an_interrupted_build_leaves_nothing(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = OSError(errno.ENOSPC, "No space left on device", "train-00000.parquet")
    for error in (full, KeyboardInterrupt()):

        def fail(*arguments: Any, error: BaseException = error, **options: Any) -> None:
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(dataset.Dataset, "to_parquet", fail)
            with pytest.raises(type(error)):
                dataset.build(folder / "clips", tmp_path / "pairs", workers=1)
        assert not list(tmp_path.iterdir())
    # What a killed build leaves is not taken for a dataset, nor silently built over.
    (tmp_path / "pairs.unfinished").mkdir()
    with pytest.raises(ValueError, match=r"pairs\.unfinished is there"):
        dataset.build(folder / "clips", tmp_path / "pairs", workers=1)
    assert not (tmp_path / "pairs").exists()


def test_errors_name_the_way_out(tmp_path: Path) -> None:
    clips = tmp_path / "clips"
    with pytest.raises(ValueError, match=r"no clips\.csv .*unlossy-train corpus"):
        dataset.build(tmp_path, tmp_path / "pairs")
    rows = write_clips(clips, 1, rate=48_000)
    with pytest.raises(ValueError, match=r"no pairs: .*000000\.flac has 48000 Hz; clips need 44100 Hz"):
        dataset.build(clips, tmp_path / "pairs", workers=1)
    write_table(clips, [[*rows[0][:3], "", *rows[0][4:]]])
    with pytest.raises(ValueError, match=r"clips\.csv, line 2, has no license"):
        dataset.build(clips, tmp_path / "pairs")
    write_table(clips, [[*rows[0][:4], "dev"]])
    with pytest.raises(ValueError, match="the split is train, validation, test, not 'dev'"):
        dataset.build(clips, tmp_path / "pairs")
    write_table(clips, rows)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "train-00000.parquet").touch()
    with pytest.raises(ValueError, match="is not empty"):
        dataset.build(clips, tmp_path / "full")
    assert {path.name for path in tmp_path.iterdir()} == {"clips", "full"}
    with pytest.raises(ValueError, match="no dataset that `build` has finished"):
        dataset.push_to_hub(tmp_path / "full", "me/pairs")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """A Hub on loopback: what it was asked to create and to commit."""
    asked: dict[str, Any] = {"commits": []}

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self, content: Any) -> None:
            data = json.dumps(content).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_GET(self) -> None:
            stale = [{"type": "file", "path": f"train-0000{i}.parquet", "size": 1, "oid": "0" * 40} for i in (0, 1)]
            self.answer(stale if "/tree/" in self.path else {"id": "me/pairs", "sha": "0" * 40, "siblings": []})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path.endswith("/repos/create"):
                asked["create"] = json.loads(body)
                self.answer({"url": f"{huggingface_hub.constants.ENDPOINT}/datasets/me/pairs"})
            elif "/preupload/" in self.path:
                files = [file["path"] for file in json.loads(body)["files"]]
                self.answer({"files": [{"path": p, "uploadMode": "regular", "shouldIgnore": False} for p in files]})
            elif "/commit/" in self.path:
                asked["commits"].append([json.loads(line) for line in body.splitlines()])
                self.answer(
                    {
                        "commitUrl": f"{huggingface_hub.constants.ENDPOINT}/datasets/me/pairs/commit/1",
                        "commitOid": "1" * 40,
                    }
                )
            else:
                self.answer({"errors": [], "warnings": []})

        def log_message(self, *arguments: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HF_TOKEN", "any")
    yield asked
    server.shutdown()


def test_push_to_hub(folder: Path, counts: dict[str, Any], hub: dict[str, Any]) -> None:
    dataset.push_to_hub(folder / "pairs", "me/pairs", private=True)
    assert hub["create"]["type"] == "dataset"
    assert hub["create"].get("private") or hub["create"].get("visibility") == "private"
    [commit] = hub["commits"]  # one, so that nobody loads half of it
    files = {line["value"]["path"]: line["value"] for line in commit if line["key"] == "file"}
    assert set(files) == {path.name for path in (folder / "pairs").iterdir()}
    for name, value in files.items():
        assert base64.b64decode(value["content"]) == (folder / "pairs" / name).read_bytes()
    assert [line["value"]["path"] for line in commit if line["key"] == "deletedFile"] == ["train-00001.parquet"]
