"""Spectra and noise: exact inverses and invariants."""

import math

import pytest
import torch

from unlossy.hub.spectral_unlossy import (
    Spectrum,
    _products_irfft,
    _products_rfft,
    cached_tensor,
    from_mid_side,
    imdct,
    istft,
    mdct,
    num_frames,
    phase_advance,
    position_noise,
    shaping_envelope,
    stft,
    to_mid_side,
)

N_FFT, HOP = 2048, 512
CPU = torch.device("cpu")


@pytest.mark.parametrize("samples", [1, 511, 512, 513, 2048, 12_345])
@pytest.mark.parametrize("channels", [1, 2])
def test_istft_undoes_stft(samples: int, channels: int) -> None:
    audio = torch.randn(3, channels, samples, generator=torch.Generator().manual_seed(0))
    bins, top_bin = stft(audio, N_FFT)
    assert bins.real.shape == bins.imaginary.shape == (3, channels, num_frames(samples, HOP), N_FFT // 2)
    torch.testing.assert_close(istft(bins, top_bin, samples), audio, atol=1e-5, rtol=0)


def test_stft_has_the_power_that_pytorch_finds() -> None:
    audio = torch.randn(1, 1, 8 * HOP, generator=torch.Generator().manual_seed(0))
    bins, top_bin = stft(audio, N_FFT)
    window = torch.hann_window(N_FFT)
    padded = torch.nn.functional.pad(audio[:, 0], (0, HOP))  # to the last frame that overlaps the signal
    wanted = torch.stft(padded, N_FFT, HOP, window=window, pad_mode="constant", return_complex=True).abs().square()
    torch.testing.assert_close(bins.power()[0, 0].T, wanted[0, :-1], atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(top_bin[0, 0, :, 0].square(), wanted[0, -1], atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("size", [2048, 256, 48])
def test_matrix_products_are_a_fourier_transform(size: int) -> None:
    frames = torch.randn(2, 2, 5, size, generator=torch.Generator().manual_seed(0))
    wanted = torch.fft.rfft(frames)
    bins, top_bin = _products_rfft(frames)
    scale = wanted.abs().max().item()
    torch.testing.assert_close(torch.complex(bins.real, bins.imaginary), wanted[..., :-1], atol=1e-6 * scale, rtol=0)
    torch.testing.assert_close(top_bin, wanted[..., -1:].real, atol=1e-6 * scale, rtol=0)
    torch.testing.assert_close(_products_irfft(bins, top_bin), frames, atol=1e-5, rtol=0)


@pytest.mark.parametrize("samples", [1, 511, 512, 513, 2048, 12_345])
def test_imdct_undoes_mdct(samples: int) -> None:
    audio = torch.randn(3, 2, samples, generator=torch.Generator().manual_seed(0))
    coefficients = mdct(audio, HOP)
    assert coefficients.shape == (3, num_frames(samples, HOP), 2, HOP)
    torch.testing.assert_close(imdct(coefficients, samples), audio, atol=1e-5, rtol=0)


def test_mdct_keeps_the_energy_and_finds_the_frequency() -> None:
    tone = torch.cos(2 * torch.pi * 100.5 / (2 * HOP) * torch.arange(20_000))[None, None]
    coefficients = mdct(tone, HOP)
    torch.testing.assert_close(coefficients.square().sum(), tone.square().sum(), rtol=1e-4, atol=0)
    assert coefficients.square().sum(dim=(0, 1, 2)).argmax() == 100


def test_mdct_has_all_its_bits_under_autocast() -> None:
    audio = torch.randn(1, 2, 5000, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(imdct(mdct(audio, HOP), 5000), audio, atol=1e-5, rtol=0)


@pytest.mark.parametrize("channels", [1, 2])
def test_mid_side_can_be_undone(channels: int) -> None:
    audio = torch.randn(2, channels, 100, generator=torch.Generator().manual_seed(0))
    mid_side = to_mid_side(audio)
    assert mid_side.shape == (2, 2, 100)
    torch.testing.assert_close(from_mid_side(mid_side, channels), audio)
    if channels == 1:
        assert mid_side[:, 1].abs().max() == 0


@pytest.mark.parametrize("bin_number", [4, 5, 6, 7, 301])
def test_a_tone_keeps_its_phase_from_frame_to_frame(bin_number: int) -> None:
    tone = torch.cos(2 * torch.pi * bin_number / N_FFT * torch.arange(20_000) + 0.7)[None, None]
    bins, _ = stft(tone, N_FFT)
    inner = torch.complex(bins.real, bins.imaginary)[0, 0, 4:-6, bin_number]
    assert inner.angle().tolist() == pytest.approx([0.7] * len(inner), abs=1e-3)


@pytest.mark.parametrize("frequency", [0.0123, 0.0625, 0.2])
def test_phase_advance_turns_a_tone_on_and_tells_it_from_noise(frequency: float) -> None:
    """[cycles a sample]"""
    tone = torch.cos(2 * torch.pi * frequency * torch.arange(20_000) + 0.7)
    noise = torch.randn(20_000, generator=torch.Generator().manual_seed(0))
    steady, _ = stft(torch.stack([tone, noise])[None], N_FFT)
    advance = phase_advance(steady)
    assert advance.real.shape == steady.real.shape
    peak = round(frequency * N_FFT)
    near = advance.map(lambda x: x[0, 0, 8:-10, peak - 1 : peak + 2])
    assert near.power().min() > 0.999**2
    turned = steady.map(lambda x: x[0, 0, 7:-11, peak - 1 : peak + 2]) * near
    wanted = steady.map(lambda x: x[0, 0, 8:-10, peak - 1 : peak + 2])
    torch.testing.assert_close(turned.real, wanted.real, rtol=1e-2, atol=1e-2 * N_FFT)
    torch.testing.assert_close(turned.imaginary, wanted.imaginary, rtol=1e-2, atol=1e-2 * N_FFT)
    assert advance.power()[0, 1, 8:-10, 4:-4].sqrt().mean() < 0.6


def test_power_is_the_squared_magnitude() -> None:
    assert Spectrum(torch.tensor([3.0]), torch.tensor([4.0])).power().tolist() == [25]


def test_noise_is_a_function_of_the_position() -> None:
    whole = position_noise(0, 5000, channels=2, seed=0, device=CPU)
    assert torch.equal(position_noise(1234, 1000, channels=2, seed=0, device=CPU), whole[:, 1234:2234])
    assert not torch.equal(position_noise(0, 5000, channels=2, seed=1, device=CPU), whole)


@pytest.mark.parametrize("start", [0, 10 * 3600 * 192_000])
def test_noise_is_white(start: int) -> None:
    samples = 2**17
    noise = position_noise(start, samples, channels=2, seed=0, device=CPU).double()
    assert noise.abs().max() <= math.sqrt(3) + 1e-6
    bound = 5 / math.sqrt(samples)  # five standard deviations
    assert noise.mean(dim=1).abs().max() < bound
    assert (noise.square().mean(dim=1) - 1).abs().max() < bound
    assert (noise[0] * noise[1]).mean().abs() < bound
    spectrum = torch.fft.rfft(noise, n=2 * samples).abs().square()
    autocorrelation = torch.fft.irfft(spectrum)[:, 1:2000] / samples
    assert autocorrelation.abs().max() < 1.2 * bound


def test_shaping_envelope_follows_an_onset_within_milliseconds() -> None:
    noise = torch.randn(1, 2, 20_000, generator=torch.Generator().manual_seed(0))
    noise[..., :10_000] *= 0.01
    envelope = shaping_envelope(noise, 16, 3, 129, 0.01)
    assert envelope.shape == noise.shape
    before, after = envelope[..., 9_500:9_900].mean(), envelope[..., 10_100:10_500].mean()
    assert before < 0.15 * after


def test_shaping_envelope_of_a_block_is_that_of_the_whole() -> None:
    audio = torch.randn(1, 1, 30_000, generator=torch.Generator().manual_seed(0))
    whole, block = (shaping_envelope(x, 16, 3, 129, 0.01) for x in (audio, audio[..., 8192:24_576]))
    torch.testing.assert_close(whole[..., 8192:24_576][..., 2000:-2000], block[..., 2000:-2000])


def test_a_cached_tensor_is_of_use_in_training_after_inference() -> None:
    ones = cached_tensor(lambda size: torch.ones(size))
    with torch.inference_mode():
        first = ones(3)
    weights = torch.zeros(3, requires_grad=True)
    (weights * ones(3)).sum().backward()
    assert ones(3) is first
    assert weights.grad is not None
