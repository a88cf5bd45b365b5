"""The differentiable similarity: its bands, its scale, and that it follows ViSQOL's own."""

import math
from pathlib import Path

import pytest
import torch
from signals import RATE
from torch import Tensor

from unlossy.hub.cells_unlossy import CellGrid
from unlossy.hub.similarity_unlossy import BANDS, RATING_SLOPES, auditory_levels, band_weights, similarity
from unlossy.hub.spectral_unlossy import stft, to_mid_side

GRID = CellGrid((4,) * 16 + (8,) * 8 + (16,) * 56, 2048, RATE)


def levels_of(audio: Tensor) -> Tensor:
    spectrum = stft(to_mid_side(audio), 2048)[0]
    return auditory_levels(GRID.energy(spectrum.power()), GRID)


def tone(hertz: float, amplitude: float = 0.5) -> Tensor:
    return amplitude * torch.sin(2 * math.pi * hertz * torch.arange(RATE) / RATE)[None, None]


def test_a_tone_lies_in_its_band_at_its_level() -> None:
    bands = [int(levels_of(tone(hertz))[0, 0, :, 20].argmax()) for hertz in (200, 1000, 4000, 12_000)]
    assert bands == sorted(set(bands))
    assert 0 < bands[0] < bands[-1] < BANDS
    # 0.5 / √2, through the window's 0.375 of the energy, as ten times the logarithm of an amplitude. The peak of a
    # filter is seldom in the middle of a cell, so less comes through.
    levels = torch.stack([levels_of(tone(hertz))[0, 0, :, 20].max() for hertz in range(3000, 6000, 100)])
    full = 10 * math.log10(0.5 / math.sqrt(2) * math.sqrt(0.375))
    assert levels.max().item() == pytest.approx(full, abs=0.5)
    assert levels.min().item() > full - 4


def test_alike_is_one_and_level_matters_less_than_pattern() -> None:
    torch.manual_seed(0)
    wanted = levels_of(torch.randn(1, 2, RATE) / 10 * (1 + torch.sin(torch.arange(RATE) / 1000)) / 2)
    assert similarity(wanted, wanted).min() > 0.999
    quieter, other = similarity(wanted, wanted - 3).mean(), similarity(wanted, wanted.roll(3, dims=3)).mean()
    assert 0.95 < quieter < 1
    assert other < quieter - 0.1


def test_what_is_far_below_full_scale_counts_for_nothing() -> None:
    loud = levels_of(tone(1000))
    faint = levels_of(tone(1000) + tone(15_000, 1e-6))
    assert similarity(loud, faint).min() > 0.99


def test_slopes_are_those_of_visqols_regression() -> None:
    import visqol

    model = Path(visqol.__file__).parent / "model" / "libsvm_nu_svr_model.txt"
    head, vectors = model.read_text().split("SV\n")
    gamma = float(head.split("gamma ")[1].split()[0])
    rows = [line.split() for line in vectors.splitlines()]
    coefficients = torch.tensor([float(row[0]) for row in rows], dtype=torch.float64)
    support = torch.tensor([[float(x.split(":")[1]) for x in row[1:]] for row in rows], dtype=torch.float64)
    similar = torch.full((BANDS,), 0.95, dtype=torch.float64, requires_grad=True)
    (coefficients * torch.exp(-gamma * (similar - support).square().sum(dim=1))).sum().backward()
    assert similar.grad is not None
    slopes = torch.tensor(RATING_SLOPES, dtype=torch.float64)
    torch.testing.assert_close(slopes, similar.grad.clamp(min=0.02), atol=0.01, rtol=0)
    assert similar.grad[23:].sum() > 0.87 * similar.grad.sum()
    assert band_weights().sum().item() == pytest.approx(1)
    assert band_weights().min() > 0


def test_gradients_are_finite_in_silence() -> None:
    energy = torch.full((1, 20, len(GRID.widths), 2), 1e-12, requires_grad=True)
    silence = auditory_levels(torch.zeros_like(energy), GRID)
    similarity(silence, auditory_levels(energy, GRID)).sum().backward()
    assert energy.grad is not None
    assert energy.grad.isfinite().all()


def test_it_follows_visqol() -> None:
    """The same order, and about the same figures, for degradations of several kinds and strengths."""
    visqol = pytest.importorskip("visqol")
    torch.manual_seed(1)
    clean = torch.randn(2 * RATE) / 20 * (1.1 + torch.sin(torch.arange(2 * RATE) / 3000))
    clean = clean + sum(tone(hertz, 0.05).repeat(1, 1, 2)[0, 0] for hertz in (220, 660, 2640))
    spectrum = torch.fft.rfft(clean)
    hertz = torch.fft.rfftfreq(len(clean), 1 / RATE)
    versions = [torch.fft.irfft(spectrum * (hertz < edge), len(clean)) for edge in (14_000, 8000, 4000)]
    versions += [clean + 0.02 * torch.randn(len(clean)), clean * (1 + 0.8 * torch.sin(torch.arange(len(clean)) / 900))]
    measure = visqol.VisqolApi()
    measure.create(mode="audio")
    ours, theirs = [], []
    for version in versions:
        mono = [torch.nn.functional.interpolate(x[None, None], scale_factor=48_000 / RATE, mode="linear")[0, 0]
                for x in (clean, version)]  # fmt: skip
        theirs.append(measure.measure_from_arrays(*(x.double().numpy() for x in mono), 48_000).vnsim)
        ours.append(similarity(levels_of(clean[None, None]), levels_of(version[None, None]))[:, 0].mean().item())
    assert torch.corrcoef(torch.tensor([ours, theirs]))[0, 1] > 0.9
