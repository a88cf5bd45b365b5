"""The exported networks: PyTorch's samples, block by block as at once, and never of another checkpoint."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from signals import RATE, notes, read

from unlossy import (
    SHIPPED_AUTOENCODER,
    SHIPPED_MODEL,
    OnnxAutoencoder,
    OnnxModel,
    UnlossyAutoencoder,
    UnlossyModel,
    decode,
    encode,
    load_autoencoder,
    load_model,
    restore,
)
from unlossy.codecs import degrade
from unlossy.embedding import fingerprint_of, from_bytes, to_bytes
from unlossy.hub.onnx_unlossy import DECODER_FILE, ENCODER_FILE, ONNX_FILE, OutdatedExportError


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


@pytest.fixture(scope="module")
def coder() -> OnnxAutoencoder:
    model = load_autoencoder(device="cpu")
    assert isinstance(model, OnnxAutoencoder)
    return model


@pytest.fixture(scope="module")
def coder_in_torch() -> UnlossyAutoencoder:
    model = load_autoencoder(device="cpu", backend="torch")
    assert isinstance(model, UnlossyAutoencoder)
    return model


@pytest.mark.parametrize(("channels", "samples"), [(2, 3 * RATE + 123), (1, 2 * RATE), (2, 1)])
def test_embeddings_are_those_of_pytorch(
    coder: OnnxAutoencoder, coder_in_torch: UnlossyAutoencoder, channels: int, samples: int
) -> None:
    audio = notes(4 * RATE)[:channels, :samples]
    given, wanted = (encode(audio, model, sampling_rate=RATE) for model in (coder, coder_in_torch))
    size = coder.config.envelope_size
    # Equal, so that both choose the same coefficients.
    np.testing.assert_array_equal(given.values[..., :size], wanted.values[..., :size])
    np.testing.assert_allclose(given.values[..., size:], wanted.values[..., size:], atol=1e-4)
    np.testing.assert_array_equal(given.envelope_steps, wanted.envelope_steps)
    assert given.fingerprint == wanted.fingerprint == fingerprint_of(coder)
    assert given.model == wanted.model == "unlossy-44khz-autoencoder"
    assert np.abs(given.values[..., size:]).max() > 0.1


@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize("detail", [0.0, 1.0])
def test_either_backend_decodes_embeddings_of_the_other(
    coder: OnnxAutoencoder, coder_in_torch: UnlossyAutoencoder, channels: int, detail: float
) -> None:
    audio = np.tile(notes(2 * RATE + 321), (3, 1))[:channels]
    for encoder in (coder, coder_in_torch):
        embedding = from_bytes(to_bytes(encode(audio, encoder, sampling_rate=RATE), bits=8))
        given, wanted = (np.asarray(decode(embedding, model, detail=detail).audio) for model in (coder, coder_in_torch))
        assert given.shape == audio.shape
        assert np.abs(given).max() > 0.1
        np.testing.assert_allclose(given, wanted, atol=3e-5)


def test_blocks_of_an_embedding_are_those_of_the_whole(coder: OnnxAutoencoder) -> None:
    audio = notes(8 * RATE)
    whole, blocks = (encode(audio, coder, sampling_rate=RATE, block_seconds=seconds) for seconds in (60, 1))
    np.testing.assert_allclose(blocks.values, whole.values, atol=1e-4)
    at_once, in_blocks = (np.asarray(decode(whole, coder, block_seconds=seconds).audio) for seconds in (60, 1))
    np.testing.assert_allclose(in_blocks, at_once, atol=1e-5)


def test_audio_beyond_reason_is_refused(coder: OnnxAutoencoder) -> None:
    with pytest.raises(ValueError, match="times full scale"):
        encode(np.full((2, 5000), 3e38, np.float32), coder, sampling_rate=RATE)


def copy_shipped(folder: Path, shipped: str = SHIPPED_MODEL) -> Path:
    for name in ("config.json", "model.safetensors", "preprocessor_config.json", ONNX_FILE, ENCODER_FILE, DECODER_FILE):
        if Path(shipped, name).exists():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(Path(shipped, name).read_bytes())
    return folder


def test_a_block_must_start_on_the_grid(exported: OnnxModel) -> None:
    with pytest.raises(ValueError, match="offset must be a multiple of 2048 samples, got 1000"):
        exported(notes(4096), offset=1000)


def test_an_export_of_other_weights_is_not_used(tmp_path: Path) -> None:
    folder = copy_shipped(tmp_path)
    assert isinstance(load_model(folder, "cpu"), OnnxModel)
    model = UnlossyModel.from_pretrained(folder)
    torch.nn.init.zeros_(model.decoder.norm.bias)
    model.save_pretrained(folder)
    assert isinstance(load_model(folder, "cpu"), UnlossyModel)
    with pytest.raises(OutdatedExportError, match="is of another checkpoint: run `unlossy-train export"):
        load_model(folder, backend="onnx")


def test_an_autoencoder_of_other_weights_is_not_used(tmp_path: Path) -> None:
    folder = copy_shipped(tmp_path, SHIPPED_AUTOENCODER)
    assert isinstance(load_autoencoder(folder, "cpu"), OnnxAutoencoder)
    model = UnlossyAutoencoder.from_pretrained(folder)
    torch.nn.init.zeros_(model.envelope_coder.widest.bias)
    model.save_pretrained(folder)
    assert isinstance(load_autoencoder(folder, "cpu"), UnlossyAutoencoder)
    with pytest.raises(OutdatedExportError, match="is of another checkpoint: run `unlossy-train export"):
        load_autoencoder(folder, backend="onnx")


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


def test_commands_import_neither_torch_nor_transformers(tmp_path: Path) -> None:
    code = """
import sys
from unlossy_cli import main
assert main(sys.argv[1:]) == 0
assert not {"torch", "transformers"} & set(sys.modules), "torch or transformers was imported"
"""
    source = tmp_path / "song.wav"
    soundfile.write(source, notes(RATE).T, RATE)
    for arguments in (
        ["restore", str(source)],
        ["info", str(source)],
        ["restore", str(source), "-o", "-"],
        ["encode", str(source)],
        ["decode", str(tmp_path / "song.embedding.safetensors")],
        ["similar", str(source), str(tmp_path)],
    ):
        done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True)
        assert done.returncode == 0, done.stderr.decode()
