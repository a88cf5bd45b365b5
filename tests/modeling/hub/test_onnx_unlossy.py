"""The exported restorer: PyTorch's samples, block by block as at once, and never of another checkpoint."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from signals import RATE, notes, read

from unlossy import SHIPPED_MODEL, OnnxModel, UnlossyModel, load_model, restore
from unlossy.codecs import degrade
from unlossy.hub.onnx_unlossy import ONNX_FILE, OutdatedExportError

SHIPPED = Path(SHIPPED_MODEL)


@pytest.fixture(scope="module")
def exported() -> OnnxModel:
    model = load_model(device="cpu")
    assert isinstance(model, OnnxModel)
    return model


@pytest.fixture(scope="module")
def lossy(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    """What an MP3 of 32 kbps leaves of notes, `(2, samples)`."""
    folder = tmp_path_factory.mktemp("lossy")
    soundfile.write(folder / "song.wav", notes(8 * RATE).T, RATE)
    degrade(folder / "song.wav", folder / "song.mp3", "mp3", 32)
    return read(folder / "song.mp3")


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("detail", [0.0, 0.5, 1.0])
def test_samples_are_those_of_pytorch(exported: OnnxModel, lossy: np.ndarray, channels: int, detail: float) -> None:
    audio = np.ascontiguousarray(lossy[:channels, : 3 * RATE + 123])
    with torch.inference_mode():
        model = UnlossyModel.from_pretrained(SHIPPED_MODEL)
        wanted = model(torch.from_numpy(audio)[None], detail=detail, offset=4096).audio_values
    given = exported(audio, detail, offset=4096)
    assert given.shape == audio.shape
    assert np.abs(given - audio).max() > 1e-3  # it does something
    np.testing.assert_allclose(given, wanted[0].numpy(), atol=3e-5)


def test_blocks_are_those_of_the_whole(exported: OnnxModel, lossy: np.ndarray) -> None:
    whole = restore(lossy, exported, sampling_rate=RATE, block_seconds=60).audio
    blocks = restore(lossy, exported, sampling_rate=RATE, block_seconds=1).audio
    assert isinstance(whole, np.ndarray)
    assert isinstance(blocks, np.ndarray)
    np.testing.assert_allclose(blocks, whole, atol=1e-5)


def test_the_package_alone_decides_for_onnx_on_a_cpu() -> None:
    assert isinstance(load_model(device="cpu", backend="torch"), UnlossyModel)
    with pytest.raises(ValueError, match="backend must be one of auto, onnx, torch, got 'tensorflow'"):
        load_model(backend="tensorflow")
    with pytest.raises(ValueError, match="runs on the CPU here, not on cuda: use --backend torch"):
        load_model(device="cuda", backend="onnx")


def copy_shipped(folder: Path) -> Path:
    for name in ("config.json", "model.safetensors", "preprocessor_config.json", ONNX_FILE):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes((SHIPPED / name).read_bytes())
    return folder


def test_an_export_of_other_weights_is_not_used(tmp_path: Path) -> None:
    folder = copy_shipped(tmp_path)
    assert isinstance(load_model(folder, "cpu"), OnnxModel)
    model = UnlossyModel.from_pretrained(folder)
    torch.nn.init.zeros_(model.decoder.norm.bias)
    model.save_pretrained(folder)
    assert isinstance(load_model(folder, "cpu"), UnlossyModel)
    with pytest.raises(OutdatedExportError, match="is of another checkpoint: run `unlossy-train export"):
        load_model(folder, backend="onnx")


def test_an_export_of_another_calibration_is_not_used(tmp_path: Path) -> None:
    folder = copy_shipped(tmp_path)
    config = folder / "config.json"
    config.write_text(config.read_text().replace('"side_share": 0.75', '"side_share": 0.5'))
    assert isinstance(load_model(folder, "cpu"), UnlossyModel)


def test_a_damaged_export_is_named(tmp_path: Path) -> None:
    folder = copy_shipped(tmp_path)
    (folder / ONNX_FILE).write_bytes((folder / ONNX_FILE).read_bytes()[:100_000])
    with pytest.raises(ValueError, match="not a model that `unlossy-train export` wrote, or damaged"):
        load_model(folder, backend="onnx")


def test_restoring_a_file_imports_neither_torch_nor_transformers(tmp_path: Path) -> None:
    code = """
import sys
from unlossy_cli import main
assert main(sys.argv[1:]) == 0
assert not {"torch", "transformers"} & set(sys.modules), "torch or transformers was imported"
"""
    source = tmp_path / "song.wav"
    soundfile.write(source, notes(RATE).T, RATE)
    for arguments in (["restore", str(source)], ["info", str(source)], ["restore", str(source), "-o", "-"]):
        done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True)
        assert done.returncode == 0, done.stderr.decode()
