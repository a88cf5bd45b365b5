"""Cells: exact means, levels in decibels, and what they have to do with each other."""

import math

import pytest
import torch

from unlossy.hub.cells_unlossy import SILENCE, CellGrid, adjacent_mean, masked_energy
from unlossy.hub.spectral_unlossy import stft


def test_cells_are_means_over_their_bins() -> None:
    grid = CellGrid((2, 2, 4), 16, 8000)
    bins = torch.arange(8.0)[None, None, None]
    cells = grid.energy(bins)
    assert cells.flatten().tolist() == [0.5, 2.5, 5.5]
    spread = grid.spread(cells)
    assert spread.flatten().tolist() == [0.5, 0.5, 2.5, 2.5, 5.5, 5.5, 5.5, 5.5]
    torch.testing.assert_close(grid.energy(spread), cells)


def test_reference_fills_holes_from_below() -> None:
    grid = CellGrid((16,) * 8, 256, 8000)
    energy = torch.tensor([1.0, 0, 0, 10, 0, 0, 0, 0])[None, None, :, None]
    base = grid.reference(energy, slope=-1.5 / 16).flatten()
    assert (base >= energy.flatten() * (1 - 1e-6)).all()
    fall = 10**-0.15
    expected = [1, fall, fall**2, *(10 * fall**cell for cell in range(5))]
    assert base.tolist() == pytest.approx(expected, rel=1e-5)


def test_reference_is_never_below_the_energy() -> None:
    grid = CellGrid((4,) * 8 + (16,) * 6, 256, 8000)
    energy = torch.rand(2, 5, len(grid.widths), 2, generator=torch.Generator().manual_seed(0)) ** 8
    assert (grid.reference(energy, -0.1) >= energy * (1 - 1e-6)).all()
    assert grid.reference(torch.zeros_like(energy), -0.1).abs().max() == 0


def test_adjacent_mean_is_the_mean_of_the_frames_around() -> None:
    energy = torch.rand(2, 9, 5, 2, generator=torch.Generator().manual_seed(0))
    nearby = adjacent_mean(energy, 2)
    assert nearby.shape == energy.shape
    torch.testing.assert_close(nearby[:, 4], energy[:, 2:7].mean(dim=1))
    torch.testing.assert_close(nearby[:, 0], energy[:, :3].sum(dim=1) / 5)
    torch.testing.assert_close(adjacent_mean(torch.nn.functional.pad(energy, (0, 0, 0, 0, 0, 4)), 2)[:, :9], nearby)


def test_cells_count_by_how_much_of_them_is_in_the_band() -> None:
    grid = CellGrid((4, 4, 8, 16), 64, 64)
    assert grid.band_weights(6.0, 20.0, torch.device("cpu")).flatten().tolist() == pytest.approx(
        [0, 2 / 14, 8 / 14, 4 / 14]
    )


def test_energy_is_shared_among_cells_within_a_bandwidth_by_their_room() -> None:
    grid = CellGrid((4,) * 4 + (16,) * 60, 2048, 44_100)
    energy, room = torch.zeros(1, 1, 64, 1), torch.ones(1, 1, 64, 1)
    energy[0, 0, [2, 50]] = 1.0  # at 215 Hz, where a bandwidth is 48 Hz, and 16.2 kHz, where it is 1.77 kHz
    room[0, 0, 51:] = 1e-3  # there is something above
    shared = grid.smooth(energy, room)[0, 0, :, 0]
    assert shared[2] == 1
    assert shared[:2].sum() + shared[3:46].sum() == 0
    torch.testing.assert_close(shared[48:51], torch.full((3,), 1 / 3), atol=1e-3, rtol=0)
    assert 0 < shared[51] < 1e-3
    torch.testing.assert_close((shared * torch.tensor(grid.widths)).sum(), torch.tensor(4.0 + 16.0))


def test_levels_are_decibels_of_full_scale_and_come_back() -> None:
    grid = CellGrid((16,) * 64, 2048, 44_100)
    tones = [amplitude * torch.cos(2 * torch.pi * 100 / 2048 * torch.arange(20_000)) for amplitude in (1.0, 0.01)]
    bin_power = stft(torch.stack([*tones, torch.zeros(20_000)])[None], 2048)[0].power()[:, :, 10:20]
    level, flatness = grid.levels(bin_power)
    # The tone is in bin 100 of cell 6, and by the window's shape 6 dB weaker in both of its neighbours.
    expected = 10 * math.log10((1 + 2 / 4) / 16)
    assert level[0, 5, 6].tolist() == pytest.approx([expected, expected - 40, SILENCE], abs=0.01)
    torch.testing.assert_close(grid.level_energy(level), grid.energy(bin_power), rtol=1e-4, atol=1e-4)
    assert flatness[0, :, 6, 0].max() < -50
    noise = torch.randn(1, 1, 200_000, generator=torch.Generator().manual_seed(0))
    _, flatness = CellGrid((1024,), 2048, 44_100).levels(stft(noise, 2048)[0].power()[:, :, 4:-4])
    # The mean of the logarithm of an exponential distribution is Euler's constant below the logarithm of its mean.
    assert flatness.mean().item() == pytest.approx(-2.51, abs=0.05)


def test_what_is_masked_follows_the_loudest_cell_of_a_frame() -> None:
    energy = torch.tensor([[[[1.0, 0.0], [100.0, 3.0]], [[0.0, 0.0], [0.0, 2.0]]]])
    torch.testing.assert_close(masked_energy(energy).flatten(), torch.tensor([100.0, 2.0]) * 10**-7.5)
