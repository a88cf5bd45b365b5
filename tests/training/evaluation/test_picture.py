"""Pictures of an embedding and of an interpolation."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from unlossy import UnlossyAutoencoder, encode
from unlossy_training.evaluation.picture import main, mix


def test_pictures_and_sounds_are_written(
    make_autoencoder: Callable[..., UnlossyAutoencoder], write_chord: Callable[..., Path], tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    model = make_autoencoder()
    model.save_pretrained(tmp_path / "model")
    first, second = write_chord("a.wav"), write_chord("b.wav", seconds=0.7)
    output = tmp_path / "pictures"
    main([str(first), str(second), "--model", str(tmp_path / "model"), "--output", str(output)])
    sounds = [f"interpolation-{share:03}.flac" for share in (0, 25, 50, 75, 100)]
    assert sorted(path.name for path in output.iterdir()) == sorted(["a.png", "b.png", "interpolation.png", *sounds])
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in output.glob("*.png"))
    assert {soundfile.info(output / name).frames for name in sounds} == {22_050}
    one, other = encode(first, model), encode(second, model)
    half = mix(one, other, 0.5).values
    np.testing.assert_allclose(half, (one.values + other.values[:, : one.values.shape[1]]) / 2, atol=1e-6)


def test_clips_must_go_together(
    make_autoencoder: Callable[..., UnlossyAutoencoder],
    write_chord: Callable[..., Path],
    refusal: Callable[..., str],
) -> None:
    model = make_autoencoder()
    stereo = encode(write_chord(), model)
    mono = encode(np.full(5000, 0.1, np.float32), model, sampling_rate=44_100)
    with pytest.raises(ValueError, match="the clips differ in channels: 2 and 1"):
        mix(stereo, mono, 0.5)
    assert "one clip or two, not 3" in refusal("picture", "a.wav", "b.wav", "c.wav", "--output", "out")
