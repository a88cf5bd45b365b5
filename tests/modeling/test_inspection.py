"""The edge that an encoder leaves in the spectrum is found, and music without one is left in peace."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from signals import RATE

from unlossy.codecs import decode, degrade, encode
from unlossy.hub.audio_unlossy import AudioError
from unlossy.inspection import inspect_file, measure_cutoff


def make_noise(slope: float, rate: int = RATE, seconds: int = 3) -> np.ndarray:
    """Stereo noise whose amplitude falls as frequency to the power of `slope`: 0 white, 0.5 pink, 1.5 dark."""
    spectrum = np.fft.rfft(np.random.default_rng(0).normal(size=(2, rate * seconds)))
    audio = np.fft.irfft(spectrum / (np.fft.rfftfreq(rate * seconds, 1 / rate) + 100) ** slope)
    return (0.3 * audio / np.abs(audio).max()).astype(np.float32)


@pytest.mark.parametrize("slope", [0, 0.5, 1.5])
@pytest.mark.parametrize("rate", [44_100, 48_000, 96_000])
def test_a_full_band_has_no_edge(tmp_path: Path, slope: float, rate: int) -> None:
    soundfile.write(tmp_path / "in.wav", make_noise(slope, rate).T, rate, "PCM_16")
    information = inspect_file(tmp_path / "in.wav")
    assert information.cutoff_hz is None
    assert "change little" in information.advice
    assert (information.codec, information.sampling_rate, information.channels) == ("pcm_s16le", rate, 2)
    assert information.duration_s == 3


@pytest.mark.parametrize(
    ("codec", "suffix", "bitrate_kbps", "lowest", "highest"),
    [
        ("mp3", ".mp3", 48, 7_000, 8_000),
        ("mp3", ".mp3", 64, 9_300, 11_500),
        ("mp3", ".mp3", 128, 16_000, 17_000),
        ("mp3", ".mp3", 192, 18_300, 19_000),
        ("aac", ".m4a", 64, 12_000, 13_000),
        ("vorbis", ".ogg", 64, 14_800, 15_600),
    ],
)
@pytest.mark.parametrize("slope", [0, 0.5, 1.5])
def test_low_pass_of_real_encoders(
    tmp_path: Path, slope: float, codec: str, suffix: str, bitrate_kbps: int, lowest: int, highest: int
) -> None:
    soundfile.write(tmp_path / "in.wav", make_noise(slope).T, RATE, "FLOAT")
    degrade(tmp_path / "in.wav", tmp_path / f"out{suffix}", codec, bitrate_kbps)
    information = inspect_file(tmp_path / f"out{suffix}")
    assert information.cutoff_hz is not None
    assert lowest <= information.cutoff_hz <= highest
    assert f"above {information.cutoff_hz / 1000:.1f} kHz is missing" in information.advice


def test_the_edge_survives_conversion_to_16_bits(tmp_path: Path) -> None:
    audio = decode(encode(make_noise(0.5), RATE, "mp3", 64), 3 * RATE)
    soundfile.write(tmp_path / "in.flac", audio.T, RATE, "PCM_16")
    information = inspect_file(tmp_path / "in.flac")
    assert information.cutoff_hz == pytest.approx(11_000, abs=300)
    assert "taken away before" in information.advice


def test_a_low_sampling_rate_is_an_edge(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "in.wav", make_noise(0.5, 22_050).T, 22_050)
    assert inspect_file(tmp_path / "in.wav").cutoff_hz == 11_025


def test_tones_and_silence_have_no_edge(tmp_path: Path) -> None:
    time = np.arange(RATE) / RATE
    tones = sum(np.sin(2 * np.pi * frequency * time) for frequency in (440, 3_000, 7_000)) / 4
    soundfile.write(tmp_path / "tones.wav", tones, RATE, "PCM_24")
    assert inspect_file(tmp_path / "tones.wav").cutoff_hz is None
    soundfile.write(tmp_path / "silence.wav", np.zeros(RATE), RATE)
    information = inspect_file(tmp_path / "silence.wav")
    assert information.cutoff_hz is None
    assert "silent" in information.advice


def test_full_band_but_coarse(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "in.wav", make_noise(0.5).T, RATE)
    degrade(tmp_path / "in.wav", tmp_path / "out.opus", "opus", 64)
    assert "noise of the encoder" in inspect_file(tmp_path / "out.opus").advice


def test_shorter_than_a_window(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "in.wav", make_noise(0)[:, :10].T, RATE)
    assert inspect_file(tmp_path / "in.wav").duration_s == 10 / RATE


def test_errors_are_the_reader_s(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="no such file"):
        inspect_file(tmp_path / "nowhere.mp3")


def test_an_array_and_its_file_have_the_same_edge(tmp_path: Path) -> None:
    clean = make_noise(0.5)
    degraded = decode(encode(clean, RATE, "mp3", 64), clean.shape[1])
    soundfile.write(tmp_path / "in.wav", degraded.T, RATE, "FLOAT")
    assert measure_cutoff(degraded, RATE) == inspect_file(tmp_path / "in.wav").cutoff_hz
    assert 9_300 <= (measure_cutoff(degraded, RATE) or 0) <= 11_500
    assert measure_cutoff(clean, RATE) is None
