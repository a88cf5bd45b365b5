"""The pipeline and the Auto classes, with the package installed and, from a saved folder, without it."""

import functools
import http.server
import io
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from signals import RATE, noise
from transformers import AutoConfig, AutoFeatureExtractor, AutoModel, pipeline

import unlossy
from unlossy import UnlossyFeatureExtractor, UnlossyModel, UnlossyPipeline


@pytest.fixture(scope="module")
def audio() -> np.ndarray:
    return noise(20_000, level=0.05)


@pytest.fixture(scope="module")
def folder(lively_model: UnlossyModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "unlossy-tiny"
    lively_model.save_pretrained(path)
    UnlossyFeatureExtractor().save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def pipe(folder: Path) -> Any:
    return pipeline("audio-to-audio", model=str(folder))  # type: ignore[call-overload]


def test_auto_classes_know_the_model(folder: Path) -> None:
    assert isinstance(AutoConfig.from_pretrained(folder), unlossy.UnlossyConfig)
    assert isinstance(AutoModel.from_pretrained(folder), UnlossyModel)
    assert isinstance(AutoFeatureExtractor.from_pretrained(folder), UnlossyFeatureExtractor)


def test_pipeline_restores_arrays(pipe: Any, lively_model: UnlossyModel, audio: np.ndarray) -> None:
    assert isinstance(pipe, UnlossyPipeline)
    for detail in (0.0, 1.0):
        result = pipe({"array": audio, "sampling_rate": RATE}, detail=detail)
        wanted = unlossy.restore(audio, lively_model, sampling_rate=RATE, detail=detail).audio
        assert result["sampling_rate"] == RATE
        np.testing.assert_array_equal(result["audio"], wanted)


def test_pipeline_restores_files_and_lists(
    pipe: Any, lively_model: UnlossyModel, write_chord: Callable[..., Path]
) -> None:
    song = write_chord()
    wanted = unlossy.restore(song, lively_model).audio
    np.testing.assert_array_equal(pipe(str(song))["audio"], wanted)
    results = pipe([str(song), {"raw": np.zeros(9000), "sampling_rate": 48_000}])
    np.testing.assert_array_equal(results[0]["audio"], wanted)
    assert results[1]["audio"].shape == (9000,)
    assert results[1]["sampling_rate"] == 48_000


def test_pipeline_says_what_it_does_not_know(pipe: Any, audio: np.ndarray) -> None:
    with pytest.raises(ValueError, match="no parameter 'detial'"):
        pipe({"array": audio, "sampling_rate": RATE}, detial=0.5)
    with pytest.raises(ValueError, match=r"got the keys \['array'\]"):
        pipe({"array": audio})
    with pytest.raises(ValueError, match="no such file"):
        pipe("nothing.mp3")


def test_pipeline_takes_what_other_pipelines_take(
    pipe: Any, lively_model: UnlossyModel, audio: np.ndarray, write_chord: Callable[..., Path], tmp_path: Path
) -> None:
    song = write_chord()
    data, wanted = song.read_bytes(), unlossy.restore(song, lively_model).audio
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        given = [data, io.BytesIO(data), {"bytes": data, "path": None}, {"bytes": None, "path": str(song)}]
        for inputs in (*given, f"{url}/song.wav"):
            np.testing.assert_array_equal(pipe(inputs)["audio"], wanted)
        with pytest.raises(ValueError, match=r"/none\.wav cannot be downloaded: .*404"):
            pipe(f"{url}/none.wav")
        server.shutdown()
    with pytest.raises(ValueError, match="cannot be downloaded"):
        pipe(f"{url}/song.wav")

    results = pipe([str(song), data, {"array": audio, "sampling_rate": np.float64(RATE)}], batch_size=2)
    assert [result["sampling_rate"] for result in results] == [RATE] * 3
    for result in results[:2]:
        np.testing.assert_array_equal(result["audio"], wanted)
    np.testing.assert_array_equal(results[2]["audio"], unlossy.restore(audio, lively_model, sampling_rate=RATE).audio)


WITHOUT_THE_PACKAGE = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "unlossy":
            raise ImportError("unlossy is not installed")

sys.meta_path.insert(0, Blocker())

import numpy as np
from transformers import AutoFeatureExtractor, AutoModel, pipeline

folder, array, result = sys.argv[1:]
pipe = pipeline("audio-to-audio", model=folder, trust_remote_code=True)
restored = pipe({"array": np.load(array), "sampling_rate": 44_100})
np.save(result, restored["audio"])
model = AutoModel.from_pretrained(folder, trust_remote_code=True)
extractor = AutoFeatureExtractor.from_pretrained(folder, trust_remote_code=True)
assert model.encode(**extractor(np.load(array), sampling_rate=44_100)).embeddings.ndim == 3
assert "unlossy" not in sys.modules
"""


def test_saved_pipeline_carries_its_code(pipe: Any, audio: np.ndarray, tmp_path: Path) -> None:
    pipe.save_pretrained(tmp_path / "saved")
    np.save(tmp_path / "array.npy", audio)
    paths = [str(tmp_path / name) for name in ("saved", "array.npy", "result.npy")]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home")}
    process = subprocess.run(
        [sys.executable, "-c", WITHOUT_THE_PACKAGE, *paths],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert process.returncode == 0, process.stderr
    wanted = pipe({"array": audio, "sampling_rate": RATE})["audio"]
    np.testing.assert_allclose(np.load(tmp_path / "result.npy"), wanted, atol=1e-6)
