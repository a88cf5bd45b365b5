"""Deficits, and how noise and make-up gain meet them: how loud, where, when, and where not."""

import math

import pytest
import torch
from signals import RATE, TINY, snr

from unlossy import UnlossyConfig, UnlossyModel
from unlossy.hub.detail_unlossy import PREDICTED
from unlossy.hub.spectral_unlossy import stft, to_mid_side


def chord(samples: int) -> torch.Tensor:
    """A chord of four tones, and noise that differs between the channels."""
    time = torch.arange(samples) / RATE
    tones = torch.sin(2 * math.pi * torch.tensor([[220.0], [550.0], [1320.0], [3300.0]]) * time).sum(dim=0) / 12
    return tones + torch.randn(1, 2, samples, generator=torch.Generator().manual_seed(0)) / 100


def predict_deficit(model: UnlossyModel, decibels: float) -> None:
    """Make an untrained model, whose heads say nothing but their bias, find every cell too quiet by so much."""
    torch.nn.init.constant_(model.detail_head.predictor.output.bias, decibels / PREDICTED)


def test_detail_has_the_power_of_the_deficit():
    model = UnlossyModel(UnlossyConfig(**TINY, hole_caution=0.0, preserved_caution=0.0))
    predict_deficit(model, 10)
    audio = 0.01 * torch.randn(1, 2, 80 * 2048, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        added = model(audio).audio_values - audio
    level = 10 * torch.log10(added.square().mean() / audio.square().mean()).item()
    assert level == pytest.approx(10 * math.log10(10 - 1), abs=0.3)
    # By place in the window: detail must not beat at the rate of the frames.
    places = added.square().mean(dim=(0, 1)).view(80, 16, 128).mean(dim=(0, 2))
    assert 10 * torch.log10(places.max() / places.min()).item() < 1


def test_detail_is_steadier_than_noise():
    model = UnlossyModel(UnlossyConfig(**TINY, hole_caution=0.0, preserved_caution=0.0))
    predict_deficit(model, 20)
    tone = (0.1 * torch.sin(2 * math.pi * 3000 * torch.arange(80 * 2048) / RATE)).expand(1, 2, -1)
    noise = torch.randn(1, 2, 80 * 2048, generator=torch.Generator().manual_seed(0))

    def fluctuation(audio: torch.Tensor) -> float:
        cells = model.grid.energy(stft(audio, 2048)[0].power())[:, 8:-8]
        return torch.log(cells[:, :, 30:50]).std(dim=1).mean().item()  # above the tone

    with torch.no_grad():
        assert fluctuation(model(tone).audio_values - tone) < 0.6 * fluctuation(noise)


def test_detail_that_is_predicted_in_single_cells_is_no_steady_tone():
    model = UnlossyModel(UnlossyConfig(**TINY, hole_caution=0.0, preserved_caution=0.0))
    bias = torch.zeros(model.config.detail_stride, len(model.config.cell_widths), 2)
    bias[:, 60::5] = 30 / PREDICTED  # one in five, above 14 kHz
    with torch.no_grad():
        model.detail_head.predictor.output.bias.copy_(bias.flatten())
        audio = 0.1 * torch.sin(2 * math.pi * 3000 * torch.arange(80 * 2048) / RATE).expand(1, 2, -1)
        added = model(audio).audio_values - audio
        cells = model.grid.energy(stft(added, 2048)[0].power())[:, 8:-8].mean(dim=(0, 1, 3))
    assert (10 * torch.log10(cells[60:76])).std() < 4  # unshared, it is 39 dB


def test_detail_does_not_begin_before_an_onset():
    model = UnlossyModel(UnlossyConfig(**TINY, hole_caution=0.0, preserved_caution=0.0))
    predict_deficit(model, 10)
    onset = 20 * 2048 + 700
    audio = 0.1 * torch.randn(1, 2, 40 * 2048, generator=torch.Generator().manual_seed(0))
    audio[..., :onset] *= 1e-3
    with torch.no_grad():
        added = model(audio).audio_values - audio
    before, after = (added[..., part].square().mean() for part in (slice(onset - 882, onset - 60), slice(onset, -1)))
    assert 10 * torch.log10(before / after).item() < -20


def test_digital_silence_between_sounds_stays_silent(make_lively):
    model = make_lively(hole_caution=0.0, preserved_caution=0.0)
    predict_deficit(model, 20)
    audio = chord(30_000)
    audio[..., 8000:20_000] = 0
    added = model(audio).audio_values - model(audio, detail=0).audio_values
    assert added[..., :6000].abs().max() > 1e-3
    assert added[..., 11_000:17_000].abs().max() == 0


@pytest.mark.parametrize(("decibels", "added"), [(5, False), (15, True)])
def test_small_deficits_get_no_noise_in_preserved_cells(decibels, added):
    model = UnlossyModel(UnlossyConfig(**TINY, hole_caution=0.0, preserved_caution=1.0))
    predict_deficit(model, decibels)
    audio = 0.01 * torch.randn(1, 2, 20_000, generator=torch.Generator().manual_seed(0))
    given, restored = (to_mid_side(x) for x in (audio, model(audio).audio_values))
    gain = (given * restored).sum(dim=2, keepdim=True) / given.square().sum(dim=2, keepdim=True)
    assert (snr(gain * given, restored) < 20) == added


@pytest.mark.parametrize(("decibels", "louder"), [(-2, 0), (2, 2), (9, 3)])
def test_mid_gets_makeup_gain_where_it_gets_no_noise(decibels, louder):
    model = UnlossyModel(UnlossyConfig(**TINY, hole_caution=99.0, preserved_caution=99.0))
    predict_deficit(model, decibels)
    audio = chord(30_000)
    given, restored = (to_mid_side(x) for x in (audio, model(audio).audio_values))
    assert snr(given[:, 1], restored[:, 1]) > 60
    assert snr(10 ** (louder / 20) * given[:, 0], restored[:, 0]) > 40


@pytest.mark.parametrize(("decibels", "added"), [(5, False), (15, True)])
def test_small_deficits_get_no_noise_in_holes(decibels, added):
    model = UnlossyModel(UnlossyConfig(**TINY, hole_caution=10.0, preserved_caution=99.0))
    predict_deficit(model, decibels)
    time = torch.arange(20_000) / RATE
    audio = 0.1 * torch.sin(2 * math.pi * 3000 * time).expand(1, 2, -1)
    difference = torch.fft.rfft((model(audio).audio_values - audio)[0, 0, 2000:-2000])
    treble = difference[len(difference) // 2 :].abs().square().mean().item()
    assert (treble > 1e-4) == added


def test_there_is_no_makeup_gain_around_an_onset():
    model = UnlossyModel(UnlossyConfig(**TINY, hole_caution=99.0, preserved_caution=99.0))
    predict_deficit(model, 3)
    onset = 20 * 2048 + 700
    audio = 0.01 * torch.randn(1, 2, 40 * 2048, generator=torch.Generator().manual_seed(0))
    audio[..., onset:] *= 2
    given, restored = (to_mid_side(x)[0, 0].square() for x in (audio, model(audio).audio_values))

    def gain(part: slice) -> float:
        return 10 * torch.log10(restored[part].mean() / given[part].mean()).item()

    assert gain(slice(10_000, 30_000)) > 2
    assert gain(slice(onset - 441, onset)) < 1


@pytest.mark.parametrize(("tone", "added"), [(0.0, False), (0.5, True)])
def test_loud_noise_meets_more_caution(tone, added):
    model = UnlossyModel(UnlossyConfig(**TINY, hole_caution=0.0, preserved_caution=5.0))
    predict_deficit(model, 10)
    noise = 0.003 * torch.randn(1, 2, 20_000, generator=torch.Generator().manual_seed(0))
    audio = noise + tone * torch.sin(2 * math.pi * 1000 * torch.arange(20_000) / RATE)
    change = torch.fft.rfft((model(audio).audio_values - audio)[0, 0, 2000:-2000])
    given = torch.fft.rfft(noise[0, 0, 2000:-2000])
    treble = slice(len(given) // 2, None)
    assert (change[treble].abs().mean() > 0.5 * given[treble].abs().mean()) == added


def test_makeup_gain_is_half_of_what_the_correction_removes():
    model = UnlossyModel(UnlossyConfig(**TINY)).eval()
    for linear in model.mask_head.noise.linears:
        torch.nn.init.constant_(linear.bias, 0.5)
    audio = 0.1 * torch.randn(1, 2, 40_000, generator=torch.Generator().manual_seed(0))

    def level(x: torch.Tensor) -> torch.Tensor:
        return 10 * torch.log10(to_mid_side(x)[0].square().sum(dim=1))

    with torch.no_grad():
        faithful, full = (level(model(audio, detail=detail).audio_values) - level(audio) for detail in (0, 1))
    assert faithful[0] < -1
    for half in (faithful[1], full[0], full[1]):
        assert half.item() == pytest.approx(faithful[0].item() / 2, abs=0.2)


def test_detail_keeps_the_stereo_width():
    model = UnlossyModel(UnlossyConfig(**TINY)).eval()
    for linear in model.mask_head.noise.linears:
        with torch.no_grad():
            linear.bias.fill_(0.0)[..., 1::2] = 1.0  # the side drowns in noise, the mid has none
    audio = 0.1 * torch.randn(1, 2, 40_000, generator=torch.Generator().manual_seed(0))

    def level(x: torch.Tensor) -> torch.Tensor:
        return 10 * torch.log10(to_mid_side(x)[0].square().sum(dim=1))

    with torch.no_grad():
        faithful, full = (level(model(audio, detail=detail).audio_values) - level(audio) for detail in (0, 1))
        silent_side = model(audio.mean(dim=1, keepdim=True).expand(-1, 2, -1)).audio_values
    assert faithful[1] < -2
    assert full[1].item() == pytest.approx(faithful[1].item() / 4, abs=0.2)
    assert full[0].item() == pytest.approx(0, abs=0.01)
    assert to_mid_side(silent_side)[0, 1].abs().max() < 1e-6
