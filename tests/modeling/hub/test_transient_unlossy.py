"""The transient gate: what is kept before an onset."""

import torch

from unlossy import UnlossyConfig
from unlossy.hub.cells_unlossy import power_ratio
from unlossy.hub.transient_unlossy import gate_transients

CONFIG = UnlossyConfig()
STEP, LEAD, REACH = CONFIG.onset_step, CONFIG.onset_lead, 3 * CONFIG.onset_step
ONSET = 200 * STEP + 17  # [samples]


def gated(audio: torch.Tensor, degraded: torch.Tensor) -> torch.Tensor:
    return gate_transients(audio, degraded, STEP, LEAD, power_ratio(CONFIG.onset_rise))


def castanet(seed: int = 0) -> torch.Tensor:
    """Stereo: silence but for faint noise, and loud noise from `ONSET` on."""
    audio = 0.2 * torch.randn(1, 2, 2 * ONSET, generator=torch.Generator().manual_seed(seed))
    audio[..., :ONSET] *= 1e-3
    return audio


def with_error(audio: torch.Tensor, level: float) -> torch.Tensor:
    """The same with noise of this level all over it."""
    return audio + level * torch.randn(audio.shape, generator=torch.Generator().manual_seed(1))


def energy_before(audio: torch.Tensor) -> float:
    """Of the last 12 ms before the onset."""
    return audio[..., ONSET - 8 * STEP : ONSET - STEP].square().sum().item()


def test_a_correction_that_is_spread_before_an_onset_is_not_made_there() -> None:
    degraded = castanet()
    corrected = with_error(degraded, 0.01)
    chosen = gated(corrected, degraded)
    assert energy_before(corrected) > 1000 * energy_before(degraded)
    torch.testing.assert_close(energy_before(chosen), energy_before(degraded), rtol=1e-3, atol=0)
    assert torch.equal(chosen[..., ONSET + 2 * STEP :], corrected[..., ONSET + 2 * STEP :])
    far = ONSET - (LEAD + 4) * STEP
    assert torch.equal(chosen[..., :far], corrected[..., :far])


def test_a_correction_that_takes_the_error_away_stays() -> None:
    corrected = castanet()
    degraded = with_error(corrected, 0.01)
    assert torch.equal(gated(corrected, degraded), corrected)


def test_without_an_onset_nothing_is_chosen() -> None:
    time = torch.arange(44_100) / 44_100
    steady = 0.1 * torch.sin(2 * torch.pi * 50 * time).expand(1, 2, -1)  # its level falls and rises within 5 ms
    corrected = with_error(steady, 0.05)
    started = slice(2 * LEAD * STEP, None)  # the start is an onset
    assert torch.equal(gated(corrected, steady)[..., started], corrected[..., started])
    assert gated(steady[..., :10], steady[..., :10]).shape == (1, 2, 10)


def test_blocks_agree_with_the_whole() -> None:
    degraded, start = castanet(), 150 * STEP
    corrected = with_error(degraded, 0.01)
    whole = gated(corrected, degraded)
    block = gated(corrected[..., start:-999], degraded[..., start:-999])
    inner = slice((LEAD + 2) * STEP, -(LEAD + 2) * STEP)
    assert torch.equal(whole[..., start:-999][..., inner], block[..., inner])


def test_reach_bounds_what_a_sample_sees_of_the_corrected_signal() -> None:
    corrected = castanet()
    degraded = with_error(corrected, 1e-3)
    louder = corrected.clone()
    place = ONSET - 5 * STEP
    louder[..., place] += 1
    difference = gated(corrected, degraded) - gated(louder, degraded)
    touched = torch.nonzero(difference.abs().amax(dim=(0, 1))).flatten()
    assert len(touched)
    assert place - REACH <= touched.min()
    assert touched.max() <= place + REACH
