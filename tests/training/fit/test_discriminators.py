"""Discriminators: shapes, what they see, saving and loading."""

from pathlib import Path

import pytest
import torch

from unlossy_training.fit.discriminators import SpectralDiscriminators


@pytest.mark.parametrize(("channels", "samples"), [(1, 3001), (2, 300)])
def test_every_resolution_gives_verdicts_and_layers(channels: int, samples: int) -> None:
    discriminators = SpectralDiscriminators(width=4, windows=(512, 256))
    verdicts, features = discriminators(torch.randn(3, channels, samples))
    assert [verdict.shape[:2] for verdict in verdicts] == [(3, 1), (3, 1)]
    assert [len(layers) for layers in features] == [5, 5]
    assert verdicts[0].shape[2] == samples // 128 + 1


def test_treble_and_side_are_seen() -> None:
    """Both 60 dB below the rest, as they are in music."""
    torch.manual_seed(0)
    discriminators = SpectralDiscriminators(width=4, windows=(512,))
    time = torch.arange(8192) / 44_100
    bass = torch.sin(2 * torch.pi * 200 * time).expand(1, 2, -1)
    treble = 1e-3 * torch.sin(2 * torch.pi * 15_000 * time)
    with torch.no_grad():
        alone, more = (discriminators(audio)[1][0][0] for audio in (bass, bass + treble))
        _, wide = (discriminators(audio)[1][0][0] for audio in (bass, bass + treble * torch.tensor([[1.0], [-1.0]])))
    assert (more - alone).abs().max() > 0.05 * alone.abs().max()
    assert (wide - more).abs().max() > 0.05 * alone.abs().max()


def test_silence_gives_a_finite_gradient() -> None:
    audio = torch.zeros(1, 2, 2048, requires_grad=True)
    sum(verdict.sum() for verdict in SpectralDiscriminators(width=4)(audio)[0]).backward()
    assert audio.grad is not None
    assert audio.grad.isfinite().all()


def test_saved_and_loaded_it_is_the_same(tmp_path: Path) -> None:
    discriminators = SpectralDiscriminators(width=4, windows=(512, 256))
    discriminators.save(tmp_path)
    loaded = SpectralDiscriminators.load(tmp_path)
    assert loaded.windows == (512, 256)
    audio = torch.randn(1, 2, 2000)
    assert torch.equal(loaded(audio)[0][1], discriminators(audio)[0][1])
    with pytest.raises(ValueError, match=r"no discriminator\.safetensors"):
        SpectralDiscriminators.load(tmp_path / "elsewhere")
