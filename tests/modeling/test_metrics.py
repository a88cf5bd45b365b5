"""Metrics: known values."""

import numpy as np
import pytest
from signals import RATE, noise

from unlossy.metrics import (
    log_spectral_distance,
    low_pass,
    mid_side_sdr,
    pre_echo,
    si_sdr,
    stereo_width,
    treble_level,
    visqol,
    width_error,
    zimtohrli,
)


def test_si_sdr() -> None:
    """It is the ratio of energies, whatever the level."""
    reference = noise()
    error = noise(seed=1)
    error -= (error * reference).sum() / np.square(reference).sum() * reference
    for level in (1, 0.1):
        assert si_sdr(reference, level * (reference + 0.1 * error)) == pytest.approx(20, abs=0.1)
    assert si_sdr(reference, reference / 2) == 100


def test_si_sdr_of_silence_is_refused() -> None:
    with pytest.raises(ValueError, match="silent reference"):
        si_sdr(np.zeros((2, 100)), noise())


def test_silent_estimate() -> None:
    """It is nothing but distortion."""
    assert si_sdr(noise(), np.zeros_like(noise())) == -100


def test_low_pass_keeps_the_samples_in_place() -> None:
    time = np.arange(RATE) / RATE
    low, high = (np.sin(2 * np.pi * pitch * time)[None] for pitch in (1000, 9000))
    assert np.abs(low_pass(low + high, 5000) - low).max() < 1e-9
    assert low_pass(high, None) is high


def test_si_sdr_below_a_cutoff() -> None:
    """What is above the cutoff does not count."""
    reference = noise()
    treble = noise(seed=1) - low_pass(noise(seed=1), 8000)
    assert si_sdr(reference, reference + treble) < 3
    assert si_sdr(low_pass(reference, 8000), low_pass(reference + treble, 8000)) == 100


def test_mid_and_side_have_their_own_ratios() -> None:
    mid, side, error = noise()[0], noise(seed=1)[0], noise(seed=2)[0]
    reference = np.stack([mid + side, mid - side])
    # The error is only in the side: 0.1 of its amplitude is -20 dB.
    wrong = np.stack([mid + side + 0.1 * error, mid - side - 0.1 * error])
    ratios = mid_side_sdr(reference, wrong)
    assert (ratios[0] or 0) > 40
    assert ratios[1] == pytest.approx(20, abs=0.2)
    assert mid_side_sdr(reference, 0.3 * reference) == (100, 100)


def test_a_narrower_image_is_an_error() -> None:
    mid, side = noise()[0], noise(seed=1)[0]
    narrow = np.stack([mid + 0.5 * side, mid - 0.5 * side])
    assert (mid_side_sdr(np.stack([mid + side, mid - side]), narrow)[1] or 100) < 10


def test_a_mono_recording_has_no_side() -> None:
    mono = noise()[:1]
    assert mid_side_sdr(mono, mono) == (100, None)
    assert mid_side_sdr(mono.repeat(2, 0), noise(seed=1))[1] is None
    assert mid_side_sdr(np.concatenate([mono, -mono]), noise(seed=1))[0] is None


def test_log_spectral_distance() -> None:
    """That of a gain is the gain."""
    reference = noise()
    assert log_spectral_distance(reference, reference) == 0
    assert log_spectral_distance(reference, reference / 2) == pytest.approx(6.02, abs=0.01)


def test_log_spectral_distance_stops_at_the_floor() -> None:
    reference = noise()
    assert log_spectral_distance(reference, np.zeros_like(reference), floor_db=-40) < 40
    assert log_spectral_distance(reference, reference + 1e-7 * noise(seed=1)) < 0.01


def test_visqol_of_silence_is_refused() -> None:
    with pytest.raises(ValueError, match="silence"):
        visqol(noise(), np.zeros_like(noise()))


def test_visqol_prefers_the_original() -> None:
    pytest.importorskip("visqol")
    reference = noise(3 * RATE // 2)
    assert visqol(reference, reference) > 4.5
    assert visqol(reference, reference + noise(3 * RATE // 2, seed=1)) < 4


def test_zimtohrli_prefers_the_original() -> None:
    reference = noise()
    assert zimtohrli(reference, reference) == 5
    little, much = (zimtohrli(reference, reference + share * noise(seed=1)) for share in (0.3, 3))
    assert 1 <= much < little < 5
    assert zimtohrli(reference[:1], reference[:1]) == 5
    with pytest.raises(ValueError, match=r"takes 0\.1 s or more, not 0\.099 s"):
        zimtohrli(reference[:, :4365], reference[:, :4365])


def louder_above(hz: float, by_db: float) -> np.ndarray:
    """The noise with its treble above a frequency louder."""
    low = low_pass(noise(), hz)
    return low + 10 ** (by_db / 20) * (noise() - low)


@pytest.mark.parametrize("error_db", [6.0, -9.4, 0.0])
def test_treble_level(error_db: float) -> None:
    """An error of it is measured with its sign."""
    assert treble_level(noise(), louder_above(6000, error_db), 6000) == pytest.approx(error_db, abs=0.1)
    # Another waveform of the same level is no error.
    other = low_pass(noise(), 6000) + 10 ** (error_db / 20) * (noise(seed=1) - low_pass(noise(seed=1), 6000))
    assert treble_level(noise(), other, 6000) == pytest.approx(error_db, abs=0.3)


def test_treble_level_is_a_mean() -> None:
    """The mean is over thirds of octaves."""
    assert treble_level(noise(), louder_above(9000, 6), 4500) == pytest.approx(3, abs=0.1)  # three bands of six


def test_treble_level_has_bounds() -> None:
    """It counts from the cutoff to the edge."""
    assert treble_level(noise(), louder_above(18_000, 20), 6000) == pytest.approx(0, abs=0.1)
    assert treble_level(noise(), louder_above(12_000, 20), 6000, edge_hz=11_900) == pytest.approx(0, abs=0.1)
    assert treble_level(noise(), low_pass(noise(), 6000), 8000) == pytest.approx(-70, abs=5)
    assert treble_level(noise(), noise(), None) is None
    assert treble_level(noise(), noise(), 17_000) is None
    assert treble_level(noise(), noise(), 15_000, edge_hz=15_500) is None


def test_treble_that_the_original_lacks() -> None:
    """It is too loud."""
    dull = low_pass(noise(), 6000)
    assert treble_level(dull, dull, 6000) == 0
    assert treble_level(dull, dull + 1e-5 * noise(seed=1), 6000) == pytest.approx(0, abs=0.1)  # which nobody hears
    assert (treble_level(dull, noise(), 6000) or 0) > 30


def test_width_is_the_side_over_the_mid() -> None:
    mid, side = noise()[0], noise(seed=1)[0]
    reference = np.stack([mid + side / 2, mid - side / 2])
    assert stereo_width(reference) == pytest.approx(-6.02, abs=0.1)
    narrower = np.stack([mid + side / 4, mid - side / 4])
    assert width_error(reference, 0.3 * narrower) == pytest.approx(6.02, abs=0.01)
    assert width_error(reference, reference) == 0
    assert stereo_width(reference[:1]) is None
    assert stereo_width(np.stack([mid, mid])) is None


def castanets(seconds: float = 1.0) -> np.ndarray:
    """Two clicks of noise that die away in some hundredths of a second."""
    time = np.arange(round(seconds * RATE)) / RATE
    decay = sum(np.where(time >= start, np.exp(-80 * (time - start)), 0) for start in (0.3, 0.7))
    return (noise(round(seconds * RATE)) * decay).astype(np.float32)


def test_pre_echo() -> None:
    """It is the error just before an onset."""
    clean = castanets()
    time = np.arange(RATE) / RATE
    error = 0.01 * noise(seed=3)
    early = (time > 0.28) & (time < 0.3) | (time > 0.68) & (time < 0.7)
    measured = pre_echo(clean, clean + error * early)
    assert measured == pytest.approx(-38, abs=1.5)  # -40, less the attack's fall in its first 6 ms
    assert pre_echo(clean, clean + error * ((time > 0.31) & (time < 0.65))) == pytest.approx(-100, abs=15)
    assert pre_echo(clean, 0.5 * clean) == pytest.approx(-100, abs=1)
    assert pre_echo(noise(), noise(seed=1)) is None


def test_a_codec_smears_attacks() -> None:
    from unlossy.codecs import decode, encode

    clean = castanets()
    low, high = (pre_echo(clean, decode(encode(clean, RATE, "mp3", kbps), clean.shape[1])) for kbps in (48, 192))
    assert low is not None
    assert high is not None
    assert -40 < low < 0
    assert high < low - 3
