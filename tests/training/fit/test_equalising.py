"""Random equalisers: alike for both sides, different from pair to pair, and without a change of phase."""

import torch
from signals import RATE

from unlossy_training.fit.equalising import equalise


def spectra(audio: torch.Tensor) -> torch.Tensor:
    return torch.fft.rfft(audio.double())


def test_both_sides_go_through_the_same_equaliser() -> None:
    torch.manual_seed(0)
    sides = torch.randn(2, 3, 2, RATE)
    gains = (spectra(equalise(sides, RATE)) / spectra(sides))[..., 20:]
    torch.testing.assert_close(gains[0], gains[1], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(gains[:, :, 0], gains[:, :, 1], rtol=1e-3, atol=1e-3)
    assert gains.imag.abs().max() < 1e-3, "no change of phase"
    assert (gains.real > 0).all()
    assert not torch.allclose(gains[0, 0], gains[0, 1], rtol=0.1), "each pair has its own"


def test_gains() -> None:
    """Levels change moderately, and some treble fades out."""
    torch.manual_seed(0)
    sides = torch.randn(1, 200, 1, RATE // 4)
    gains = 20 * torch.log10((spectra(equalise(sides, RATE)) / spectra(sides)).abs())[0, :, 0]
    middle, top = gains[:, 1000 // 4], gains[:, 20_000 // 4]
    assert middle.abs().max() < 7
    fading = (top < -25).float().mean().item()
    assert 0.02 < fading < 0.25
    assert top.median().abs() < 5


def test_a_share_of_the_pairs_is_left_alone() -> None:
    torch.manual_seed(0)
    sides = torch.randn(2, 100, 1, 1000)
    changed = ((equalise(sides, RATE, 0.3) - sides).abs() > 1e-4).any(dim=3)[:, :, 0]
    assert torch.equal(changed[0], changed[1])
    assert 0.2 < changed[0].float().mean().item() < 0.4
    assert not ((equalise(sides, RATE, 0.0) - sides).abs() > 1e-4).any()


def test_a_level_alone_stays() -> None:
    torch.manual_seed(0)
    assert equalise(torch.zeros(2, 4, 2, 1000), RATE).abs().max() == 0
