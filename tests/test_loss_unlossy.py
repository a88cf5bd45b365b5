"""The loss: exact values on constructed spectra."""

import math

import pytest
import torch
from torch import Tensor

from unlossy.loss_unlossy import DECIBEL, TOLERATED_DEFICIT, WEIGHTS, restoration_loss
from unlossy.spectral_unlossy import cell_energy, power, stft, to_mid_side

CELL_WIDTHS = (4,) * 16 + (16,) * 60  # 1,024 bins
HERTZ_PER_BIN = 44_100 / 2048


def noise(seed: int, level: float = 0.1) -> Tensor:
    return level * torch.randn(2, 2, 20_000, generator=torch.Generator().manual_seed(seed))


def loss_of(clean: Tensor, degraded: Tensor, faithful: Tensor) -> tuple[float, dict[str, float]]:
    """Loss and terms of audio whose deficits the network predicts to be none."""
    spectra = [stft(to_mid_side(audio), 2048, 512)[:, :, :-1] for audio in (clean, degraded, faithful)]
    present = cell_energy(power(spectra[2]), CELL_WIDTHS)
    return evaluate(spectra, (clean, degraded, faithful), present, torch.full_like(present, -1.0))


def evaluate(
    spectra: list[Tensor], audio: tuple[Tensor, Tensor, Tensor], present: Tensor, deficit: Tensor
) -> tuple[float, dict[str, float]]:
    loss, terms = restoration_loss(
        clean=spectra[0],
        degraded=spectra[1],
        faithful=spectra[2],
        present=present,
        deficit=deficit,
        detail_power=present * torch.expm1(deficit.clamp(min=0)),
        clean_audio=audio[0],
        degraded_audio=audio[1],
        faithful_audio=audio[2],
        cell_widths=CELL_WIDTHS,
        hertz_per_bin=HERTZ_PER_BIN,
    )
    return loss.item(), {name: term.item() for name, term in terms.items()}


def test_perfect_audio_left_alone_costs_nothing() -> None:
    clean = noise(0)
    loss, terms = loss_of(clean, clean, clean)
    assert loss == pytest.approx(0, abs=1e-6)
    assert all(value == pytest.approx(0, abs=1e-6) for value in terms.values())


def test_damage_to_perfect_audio_costs() -> None:
    clean = noise(0)
    _, terms = loss_of(clean, clean, clean + noise(1, 0.02))
    assert terms["waveform"] > 5
    assert terms["zones"] > 5


def test_terms_are_the_change_of_the_error() -> None:
    clean, error = noise(0), noise(1)
    _, unchanged = loss_of(clean, clean + error, clean + error)
    _, better = loss_of(clean, clean + error, clean + error / 2)
    _, worse = loss_of(clean, clean + error, clean + error * 2)
    assert unchanged["waveform"] == pytest.approx(0, abs=1e-5)
    assert better["waveform"] == pytest.approx(-6.02, abs=0.05)
    assert worse["waveform"] == pytest.approx(6.02, abs=0.05)
    assert better["zones"] < -4
    assert worse["zones"] > 4


def test_loss_is_the_weighted_sum() -> None:
    clean = noise(0)
    loss, terms = loss_of(clean, clean + noise(1), clean + noise(1, 0.05))
    assert loss == pytest.approx(sum(weight * terms[name] for name, weight in WEIGHTS.items()), rel=1e-5)
    assert "disturbance" not in WEIGHTS


def envelope_of(missing: float, predicted: float, cell: int = 40) -> float:
    """The envelope term where one cell is `missing` nepers too low, and `predicted` are expected there."""
    spectrum = torch.ones(1, 3, 1024, 2, dtype=torch.complex64)
    present = torch.ones(1, 3, len(CELL_WIDTHS), 2)
    present[:, :, cell] = math.exp(-missing)
    deficit = torch.full_like(present, -1.0)
    deficit[:, :, cell] = predicted
    audio = noise(0)
    return evaluate([spectrum] * 3, (audio, audio, audio), present, deficit)[1]["envelope"]


def erb_share(cell: int) -> float:
    """Share of a cell in all of the ERB-rate scale."""
    edges = [sum(CELL_WIDTHS[:number]) * HERTZ_PER_BIN for number in (cell, cell + 1, len(CELL_WIDTHS))]
    low, high, top = (math.log10(1 + 0.00437 * hertz) for hertz in edges)
    return (high - low) / top


def test_envelope_is_the_error_of_the_deficit() -> None:
    for cell in (3, 40, 75):
        assert envelope_of(2.0, 2.0, cell) == pytest.approx(0, abs=1e-5)
        for predicted in (0.5, 3.5, -1.0):
            expected = abs(predicted - 2.0) * erb_share(cell) * DECIBEL
            assert envelope_of(2.0, predicted, cell) == pytest.approx(expected, rel=1e-3)


def test_where_nothing_is_missing_only_a_positive_prediction_costs() -> None:
    for missing in (0.0, -1.0, TOLERATED_DEFICIT - 0.01):
        assert envelope_of(missing, -0.3) == 0
        assert envelope_of(missing, 0.3) == pytest.approx(0.3 * erb_share(40) * DECIBEL, rel=1e-3)
