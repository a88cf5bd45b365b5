"""The autoencoder's coder: which coefficients a frame's values stand for, and what it takes to be robust."""

import math
from collections.abc import Callable

import pytest
import torch

from unlossy import UnlossyModel
from unlossy.hub.coder_unlossy import BLOCK, GROUP, LEVEL_SCALE, LEVEL_SHIFT, Coder, grouped
from unlossy.hub.spectral_unlossy import cell_energy, mdct, power, stft

RATE = 44_100
FRAMES = 40


@pytest.fixture(scope="module")
def coder(make_lively: Callable[..., UnlossyModel]) -> Coder:
    return make_lively(residual=False, embedding_size=92, detail_threshold=0.0, kept_threshold=0.0).coder


def make_noise(samples: int = (FRAMES - 2) * 512, seed: int = 0) -> torch.Tensor:
    """Mid and side `(1, 2, samples)`, falling towards the treble and changing over time."""
    noise = torch.randn(1, 2, samples, generator=torch.Generator().manual_seed(seed))
    return 0.1 * noise.cumsum(2).diff(n=1, dim=2, prepend=torch.zeros(1, 2, 1)) * torch.linspace(0.2, 1, samples)


def make_envelope(coder: Coder, frames: int = FRAMES, seed: int = 0) -> torch.Tensor:
    values = torch.randn(1, frames, coder.config.envelope_size, generator=torch.Generator().manual_seed(seed))
    steps = coder.steps().float().view(GROUP, -1).repeat(-(-frames // GROUP), 1)[:frames]
    return steps * torch.round(values / steps)


def linear_levels(coder: Coder, envelope: torch.Tensor) -> torch.Tensor:
    """Energy of cells as the linear transform alone has it."""
    levels = coder.linear_decoder(grouped(envelope)).unflatten(2, (GROUP, -1)).flatten(1, 2)[:, : envelope.shape[1]]
    return (512**2 * torch.exp(LEVEL_SCALE * (levels - LEVEL_SHIFT))).unflatten(2, (-1, 2))


def test_the_envelope_is_made_of_whole_steps(coder: Coder) -> None:
    envelope = coder.encode_envelope(power(stft(make_noise(), 2048, 512)[:, :, :-1]), None)
    multiples = grouped(envelope) / coder.steps()
    torch.testing.assert_close(multiples, torch.round(multiples), atol=1e-3, rtol=0)
    assert multiples.abs().max() > 1


def test_the_strongest_coefficients_are_coded_and_each_but_once(coder: Coder) -> None:
    envelope = make_envelope(coder)
    chosen = coder.choose(envelope, None)
    assert chosen.shape == (1, FRAMES // BLOCK, BLOCK * coder.config.waveform_size)
    deviation = coder._deviation(linear_levels(coder, envelope))
    for block, indices in enumerate(chosen[0]):
        assert len(set(indices.tolist())) == len(indices)
        kept = deviation[0, block, indices]
        assert (kept.diff() <= 1e-5 * kept[:-1]).all(), "the strongest first"
        others = torch.ones(deviation.shape[2], dtype=torch.bool)
        others[indices] = False
        assert deviation[0, block][others].max() <= 1.0001 * kept[-1]


def test_the_choice_does_not_depend_on_the_last_bits(coder: Coder) -> None:
    """Of an embedding from a file, or of one that another machine has computed."""
    envelope = make_envelope(coder)
    chosen = coder.choose(envelope, None)
    assert torch.equal(coder.choose(envelope * (1 + 1e-5), None), chosen)
    assert not torch.equal(coder.choose(make_envelope(coder, seed=1), None), chosen)


def test_coded_coefficients_come_back_and_the_others_are_missing(coder: Coder) -> None:
    audio, envelope = make_noise(), make_envelope(coder)
    energy = coder.decode_envelope(envelope, None)
    values = coder.encode_waveform(audio, envelope, energy, None)
    assert values.shape == (1, FRAMES, coder.config.waveform_size)
    coded, missing = coder.decode_waveform(values, envelope, energy, None)
    wanted = mdct(audio, 1024)[:, : FRAMES // BLOCK].flatten(2)
    chosen = coder.choose(envelope, None)
    torch.testing.assert_close(coded.flatten(2).gather(2, chosen), wanted.gather(2, chosen), rtol=1e-4, atol=1e-6)
    assert missing.flatten(2).gather(2, chosen).abs().max() == 0
    assert (coded.flatten(2) != 0).sum() <= chosen.numel()
    everything = (coder._deviation(energy).square() - 1e-11).scatter(2, chosen, 0.0)
    torch.testing.assert_close(missing.flatten(2).square(), everything.clamp(min=0), rtol=1e-3, atol=1e-8)


def test_noise_in_place_of_what_was_nearly_coded_is_quieter(make_lively: Callable[..., UnlossyModel]) -> None:
    careful = make_lively(residual=False, embedding_size=92, detail_threshold=3.0, kept_threshold=15.0).coder
    envelope = make_envelope(careful)
    energy, values = careful.decode_envelope(envelope, None), torch.zeros(1, FRAMES, careful.config.waveform_size)
    _, missing = careful.decode_waveform(values, envelope, energy, None)
    variance = careful._deviation(energy).square()
    weakest = variance.gather(2, careful.choose(envelope, None)[:, :, -1:])
    there = missing.flatten(2) > 1e-4
    doubt = 10 * torch.log10(variance / missing.flatten(2).square())
    level = 10 * torch.log10(variance / weakest)
    assert (doubt[there & (level < -20)] - 3).abs().max() < 0.5
    assert (doubt[there & (level > 0)] - 15).abs().max() < 0.5
    between = there & (level < -9) & (level > -11)
    assert (doubt[between] - 9).abs().max() < 1.0


def test_values_are_as_large_for_quiet_audio_as_for_loud(coder: Coder) -> None:
    noise, envelope = torch.randn(1, 2, 38 * 512, generator=torch.Generator().manual_seed(0)), make_envelope(coder)
    values = []
    for level in (1e-3, 0.5):
        energy = torch.full((1, FRAMES, coder.values // 2, 2), 768.0) * level**2  # of white noise: 3/8 · n_fft
        values.append(coder.encode_waveform(level * noise, envelope, energy, None)[:, 2:-2])
    torch.testing.assert_close(values[0], values[1], rtol=1e-3, atol=1e-3)
    assert values[0].std().item() == pytest.approx(1, abs=0.05)


def test_a_block_is_as_loud_as_the_frames_under_its_window(coder: Coder) -> None:
    audio = make_noise(40 * 512)
    energy = cell_energy(power(stft(audio, 2048, 512)[:, :, :-1]), coder.config.cell_widths)
    expected = coder._deviation(energy)[:, 2:-2].square().sum()
    given = mdct(audio, 1024)[:, 2:19].square().sum()
    assert 10 * math.log10(given / expected) == pytest.approx(0, abs=0.5)


def test_silence_has_nothing_missing(coder: Coder) -> None:
    values, envelope = torch.ones(1, 3, coder.config.waveform_size), make_envelope(coder, 3)
    coded, missing = coder.decode_waveform(values, envelope, torch.zeros(1, 3, coder.values // 2, 2), None)
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
