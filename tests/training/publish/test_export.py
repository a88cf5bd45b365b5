"""`unlossy-train export`: a checkpoint of any size, which then runs in ONNX Runtime."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from signals import RATE, notes

from unlossy import OnnxAutoencoder, UnlossyAutoencoder, encode, load_autoencoder
from unlossy_training.command_line import main


@pytest.mark.slow
def test_an_autoencoder_of_another_size(
    make_autoencoder: Callable[..., UnlossyAutoencoder], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = make_autoencoder(group_frames=2)
    with torch.no_grad():  # its random weights make audio of ten times full scale, where rounding is ten times as much
        model.envelope_coder.linear_decoder.bias.sub_(1.0)
        model.envelope_coder.linear_decoder.weight.mul_(0.3)
    model.save_pretrained(tmp_path)
    main(["export", str(tmp_path)])
    assert "onnx/encoder_model.onnx: " in capsys.readouterr().out
    exported = load_autoencoder(tmp_path, device="cpu")
    assert isinstance(exported, OnnxAutoencoder)
    audio = notes(RATE)
    given, wanted = (encode(audio, network, sampling_rate=RATE) for network in (exported, model))
    assert given.fingerprint == wanted.fingerprint
    np.testing.assert_allclose(given.values, wanted.values, atol=1e-3)


def test_what_is_no_checkpoint_is_named(tmp_path: Path, refusal: Callable[..., str]) -> None:
    assert f": {tmp_path}: no Unlossy model found" in refusal("export", tmp_path)
