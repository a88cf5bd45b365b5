"""The autoencoder's coder: which coefficients a frame's values stand for, and what it takes to be robust."""

from collections.abc import Callable

import pytest
import torch

from unlossy import UnlossyModel
from unlossy.coder_unlossy import GROUP, Coder, _candidates, grouped
from unlossy.spectral_unlossy import mdct

RATE = 44_100


@pytest.fixture
def coder(make_lively: Callable[..., UnlossyModel]) -> Coder:
    return make_lively(residual=False, embedding_size=92, candidates=8).coder


def loud_cell(coder: Coder, cell: int, channel: int = 0) -> torch.Tensor:
    """Energy `(1, 1, cells, 2)` that is 40 dB higher in one cell than anywhere else."""
    energy = torch.ones(1, 1, coder.values // 2, 2)
    energy[0, 0, cell, channel] = 1e4
    return energy


def test_no_coefficient_has_two_values() -> None:
    index = _candidates(72, 8, 512)
    assert len(index) == len(set(index.tolist())) == 72 * 8
    assert index.max() < 1024
    assert set(range(50)) <= set(index[:72].tolist()), "the mid's bass comes first"


@pytest.mark.parametrize(("cell", "channel"), [(0, 0), (20, 0), (40, 0), (3, 1)])
def test_the_envelope_decides_what_is_coded(coder: Coder, cell: int, channel: int) -> None:
    energy = loud_cell(coder, cell, channel)
    inside = coder._variance(energy).flatten() > coder._variance(energy).min()
    coefficients = torch.randn(1, 1, 1024, generator=torch.Generator().manual_seed(0)) * coder._variance(energy).sqrt()
    coded, missing = coder.decode_waveform(coder.encode_waveform(coefficients.unflatten(2, (2, 512)), energy), energy)
    torch.testing.assert_close(coded.flatten()[inside], coefficients.flatten()[inside], rtol=1e-3, atol=1e-3)
    assert (missing.flatten()[inside].square() < 1e-3 * coder._variance(energy).max()).all()


def test_what_is_coded_and_what_is_missing_make_up_the_envelope(coder: Coder) -> None:
    generator = torch.Generator().manual_seed(0)
    energy = torch.exp(3 * torch.randn(1, 400, coder.values // 2, 2, generator=generator))
    variance = coder._variance(energy)
    coefficients = torch.randn(variance.shape, generator=generator) * variance.sqrt()
    values = coder.encode_waveform(coefficients.unflatten(2, (2, 512)), energy)
    coded, missing = coder.decode_waveform(values, energy)
    total = coded.flatten(2).square().sum() + missing.square().sum()
    assert 10 * torch.log10(total / variance.sum()).item() == pytest.approx(0, abs=0.3)


def test_a_slightly_different_envelope_does_little(coder: Coder) -> None:
    """One rounded to 8 bits, say, or computed on another machine."""
    generator = torch.Generator().manual_seed(0)
    energy = torch.exp(3 * torch.randn(1, 50, coder.values // 2, 2, generator=generator))
    other = energy * torch.exp(0.02 * torch.randn(energy.shape, generator=generator))
    variance = coder._variance(energy)
    coefficients = (torch.randn(variance.shape, generator=generator) * variance.sqrt()).unflatten(2, (2, 512))
    values = coder.encode_waveform(coefficients, energy)
    same, _ = coder.decode_waveform(values, energy)
    near, _ = coder.decode_waveform(values, other)
    assert 10 * torch.log10(same.square().sum() / (same - near).square().sum()).item() > 20


def test_values_are_as_large_for_quiet_audio_as_for_loud(coder: Coder) -> None:
    noise = torch.randn(1, 2, RATE, generator=torch.Generator().manual_seed(0))
    values = []
    for level in (1e-3, 0.5):
        energy = torch.full((1, 1, coder.values // 2, 2), 768.0) * level**2  # of white noise: 3/8 · n_fft
        values.append(coder.encode_waveform(mdct(level * noise, 512), energy)[:, 2:-2])
    torch.testing.assert_close(values[0], values[1], rtol=1e-3, atol=1e-3)
    assert 0.3 < values[1].std().item() < 1.1


def test_silence_has_nothing_missing(coder: Coder) -> None:
    coded, missing = coder.decode_waveform(
        torch.ones(1, 3, coder.config.waveform_size), torch.zeros(1, 3, coder.values // 2, 2)
    )
    assert missing.abs().max() == 0
    assert coded.abs().max() < 1e-4


@pytest.mark.parametrize("frames", [1, 4, 7])
def test_frames_are_grouped_and_filled_up(frames: int) -> None:
    x = torch.arange(2 * frames * 3.0).view(2, frames, 3)
    groups = grouped(x, silence=-1.0)
    assert groups.shape == (2, -(-frames // GROUP), GROUP * 3)
    flat = groups.unflatten(2, (GROUP, 3)).flatten(1, 2)
    torch.testing.assert_close(flat[:, :frames], x)
    assert (flat[:, frames:] == -1).all()
