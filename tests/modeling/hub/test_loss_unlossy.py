"""The loss: exact values on constructed spectra."""

import math

import pytest
import torch
from torch import Tensor

from unlossy.hub.cells_unlossy import CellGrid
from unlossy.hub.loss_unlossy import (
    TOLERATED_DEFICIT,
    WEIGHTS,
    coding_terms,
    detail_terms,
    faithful_terms,
    weighted_sum,
)
from unlossy.hub.spectral_unlossy import stft, to_mid_side

CELL_WIDTHS = (4,) * 16 + (16,) * 60  # 1,024 bins
GRID = CellGrid(CELL_WIDTHS, 2048, 44_100)


def noise(seed: int, level: float = 0.1) -> Tensor:
    return level * torch.randn(2, 2, 20_000, generator=torch.Generator().manual_seed(seed))


def loss_of(clean: Tensor, degraded: Tensor, faithful: Tensor) -> tuple[float, dict[str, float]]:
    """Loss and terms of audio whose deficits the network predicts to be none."""
    spectra = [stft(to_mid_side(audio), 2048)[0] for audio in (degraded, faithful, clean)]
    terms = faithful_terms(
        degraded=spectra[0],
        faithful=spectra[1],
        clean=spectra[2],
        degraded_audio=degraded,
        faithful_audio=faithful,
        clean_audio=clean,
    )
    energy = GRID.energy(spectra[1].power())
    wanted = GRID.energy(spectra[2].power())
    terms |= terms_of_detail(energy, torch.full_like(energy, -1.0), wanted)
    loss, values = weighted_sum(terms)
    return loss.item(), {name: value.item() for name, value in values.items()}


def terms_of_detail(energy: Tensor, deficit: Tensor, clean: Tensor, known: Tensor | None = None) -> dict[str, Tensor]:
    return detail_terms(
        energy=energy / 2,  # all cells are spectral holes
        reference=energy,
        deficit=deficit,
        filled=energy * 10 ** (deficit.clamp(min=0) / 10),
        clean=clean,
        known=known,
        grid=GRID,
    )


def test_level_is_the_long_term_level_of_spectral_holes() -> None:
    """6 dB too quiet on average costs 36 dB², however it is spread over time; where the codec kept all, nothing."""
    shape = (1, 40, len(GRID.widths), 2)
    torch.manual_seed(0)
    clean, given = torch.rand(shape) + 0.5, torch.rand(shape) + 0.5
    given = given * clean.mean(dim=1, keepdim=True) / given.mean(dim=1, keepdim=True) / 10**0.6
    reference = torch.ones(shape)
    for energy, expected in ((torch.zeros(shape), 36.0), (reference, 0.0)):
        terms = detail_terms(
            energy=energy, reference=reference, deficit=torch.zeros(shape), filled=given, clean=clean, grid=GRID
        )
        assert terms["level"].item() == pytest.approx(expected, abs=0.1)


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
    assert set(terms) == set(WEIGHTS)


def envelope_of(missing: float, predicted: float, cell: int = 40) -> float:
    """The envelope term where one cell is `missing` dB too low, and `predicted` are expected there."""
    wanted = torch.ones(1, 3, len(CELL_WIDTHS), 2)
    present = wanted.clone()
    present[:, :, cell] = 10 ** (-missing / 10)
    deficit = torch.full_like(present, -1.0)
    deficit[:, :, cell] = predicted
    return terms_of_detail(present, deficit, wanted)["envelope"].item()


def erb_share(cell: int) -> float:
    """Share of a cell in all of the ERB-rate scale."""
    edges = [sum(CELL_WIDTHS[:number]) * GRID.hertz_per_bin for number in (cell, cell + 1, len(CELL_WIDTHS))]
    low, high, top = (math.log10(1 + 0.00437 * hertz) for hertz in edges)
    return (high - low) / top


def test_envelope_is_the_error_of_the_deficit() -> None:
    for cell in (3, 40, 75):
        assert envelope_of(9.0, 9.0, cell) == pytest.approx(0, abs=1e-5)
        for predicted in (2.0, 15.0, -4.0):
            expected = abs(predicted - 9.0) * erb_share(cell)
            assert envelope_of(9.0, predicted, cell) == pytest.approx(expected, rel=1e-3)


def test_where_nothing_is_missing_only_a_positive_prediction_costs() -> None:
    for missing in (0.0, -4.0, TOLERATED_DEFICIT - 0.05):
        assert envelope_of(missing, -1.3) == 0
        assert envelope_of(missing, 1.3) == pytest.approx(1.3 * erb_share(40), rel=1e-3)


def test_dissimilarity_hears_the_rhythm_of_what_is_added() -> None:
    """Noise bursts above 8 kHz are missing: in time they are nearly right, out of time or even they are not."""
    frames, cells = 120, len(CELL_WIDTHS)
    beat = torch.where(torch.arange(frames) % 24 < 8, 1.0, 0.01)[None, :, None, None]
    wanted = torch.full((1, frames, cells, 2), 1.0)
    wanted[:, :, 40:] *= beat
    there = wanted.clone()
    there[:, :, 40:] = 1e-9

    def dissimilarity(added: Tensor) -> float:
        deficit = 10 * torch.log10(added.expand_as(there) / there).where(torch.arange(cells)[:, None] >= 40, -0.4)
        return terms_of_detail(there, deficit, wanted)["dissimilarity"].item()

    in_time, too_quiet = dissimilarity(beat), dissimilarity(beat / 4)
    out_of_time, even = dissimilarity(beat.roll(12, dims=1)), dissimilarity(torch.ones_like(beat) / 3)
    assert in_time == pytest.approx(0, abs=1e-3)
    assert in_time < too_quiet < even < out_of_time


def test_dissimilarity_has_all_its_bits_under_autocast() -> None:
    """Levels rounded to bf16 gave one of 46, where 1 is the most, and gradients of 45,000."""
    clean, degraded = (GRID.energy(stft(noise(seed), 2048)[0].power()) for seed in (0, 1))
    alone = terms_of_detail(degraded, torch.zeros_like(degraded), clean)["dissimilarity"]
    with torch.autocast("cpu", torch.bfloat16):
        mixed = terms_of_detail(degraded, torch.zeros_like(degraded), clean)["dissimilarity"]
    torch.testing.assert_close(mixed, alone)


def test_where_the_original_is_unknown_any_prediction_is_right() -> None:
    energy = torch.rand(1, 40, len(CELL_WIDTHS), 2, generator=torch.Generator().manual_seed(0)) + 0.1
    known = (torch.arange(len(CELL_WIDTHS)) < 60)[None, None, :, None]
    wanted = (2 * energy).where(known, 1e-6)
    deficit = torch.full_like(energy, 10 * math.log10(2)).where(known, 20.0)
    terms = terms_of_detail(energy, deficit, wanted, known)
    assert all(term.item() == pytest.approx(0, abs=1e-5) for term in terms.values())
    too_much = (2 * deficit).requires_grad_()
    loss, _ = weighted_sum(terms_of_detail(energy, too_much, wanted, known))
    loss.backward()
    assert too_much.grad is not None
    assert too_much.grad[:, :, :60].abs().sum() > 0
    assert too_much.grad[:, :, 60:].abs().sum() == 0


def terms_of_coding(energy: Tensor, wanted: Tensor) -> dict[str, float]:
    terms = coding_terms(energy=energy, clean=wanted, grid=GRID, side_weight=0.5)
    return {name: value.item() for name, value in terms.items()}


def test_an_autoencoder_that_loses_nothing_costs_nothing() -> None:
    clean = noise(0)
    energy = GRID.energy(stft(to_mid_side(clean), 2048)[0].power())
    terms = terms_of_coding(energy, energy)
    assert terms["envelope"] == pytest.approx(0, abs=1e-6)
    assert terms["dissimilarity"] == pytest.approx(0, abs=1e-6)


def test_an_autoencoders_errors_are_told_in_decibels() -> None:
    clean = noise(0)
    energy = GRID.energy(stft(to_mid_side(clean), 2048)[0].power())
    for factor in (0.5, 2.0):
        terms = terms_of_coding(factor * energy, energy)
        assert terms["envelope"] == pytest.approx(3.01, abs=0.1)
    inaudible = terms_of_coding(energy.clamp(max=1e-3 * float(energy.max())), energy)
    assert inaudible["envelope"] > 10
