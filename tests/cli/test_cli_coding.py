"""`unlossy encode`, `decode` and `similar`, through `main`: what they write and say, and how they refuse."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from unlossy import UnlossyAutoencoder, autoencoding, load_embedding
from unlossy_cli import main

WriteChord = Callable[..., Path]


@pytest.fixture(scope="module")
def autoencoder(make_autoencoder: Callable[..., UnlossyAutoencoder], tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("models") / "lively-autoencoder"
    make_autoencoder().save_pretrained(folder)
    return str(folder)


def error_of(capsys: pytest.CaptureFixture[str]) -> str:
    """The sentence on stderr; that it is one line is checked."""
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    return error


def test_there_and_back(
    write_chord: WriteChord, autoencoder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    song = write_chord("song.flac")
    assert main(["encode", str(song), "--model", autoencoder]) == 0
    file = tmp_path / "song.embedding.safetensors"
    line = capsys.readouterr().out
    assert line.startswith(f"{song} -> {file}: ")
    kbps = re.search(r": ([0-9.]+) kbps", line)
    assert kbps is not None
    assert float(kbps[1]) == pytest.approx(8 * file.stat().st_size / 1000 / 0.5, abs=0.1)
    embedding = load_embedding(file)
    assert (embedding.sampling_rate, embedding.channels, embedding.num_frames) == (44_100, 2, 22_050)
    assert embedding.model == "lively-autoencoder"  # without the folder that it lies in
    assert main(["decode", str(file), "--model", autoencoder, "--detail", "0"]) == 0
    audio, rate = soundfile.read(tmp_path / "song.decoded.flac")
    assert (audio.shape, rate) == ((22_050, 2), 44_100)
    assert np.abs(audio).max() > 0


def test_bits(write_chord: WriteChord, autoencoder: str, tmp_path: Path) -> None:
    """Fewer bits give smaller files, and float is exact."""
    song, sizes = write_chord(), []
    for bits in ("4", "8", "32"):
        file = tmp_path / f"{bits}.safetensors"
        assert main(["encode", str(song), "-o", str(file), "--bits", bits, "--model", autoencoder]) == 0
        sizes.append(file.stat().st_size)
    assert sizes == sorted(set(sizes))
    model = autoencoding.load_autoencoder(autoencoder)
    np.testing.assert_array_equal(load_embedding(file).values, autoencoding.encode(song, model).values)


def test_mistakes_are_named_in_one_sentence(
    write_chord: WriteChord, autoencoder: str, tiny_model: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    write_chord()
    (tmp_path / "text.safetensors").write_text("no embedding")
    model = ["--model", autoencoder]
    assert main(["encode", "song.wav", "--bits", "4", *model]) == 0
    data = Path("song.embedding.safetensors").read_bytes()
    Path("cut.embedding.safetensors").write_bytes(data[:-1])
    capsys.readouterr()
    before = set(tmp_path.iterdir())
    for arguments, message in (
        (["encode", "song.wav", *model], "exists already; add --overwrite"),
        (["encode", "missing.wav", *model], "no such file: missing.wav"),
        (["encode", "text.safetensors", *model], "not an audio file"),
        (["encode", "song.wav", "-o", "song.flac", *model], "ends in .safetensors"),
        (["encode", "song.wav", "-o", "new.safetensors", "--model", str(tiny_model)], "is a restorer"),
        (["decode", "song.embedding.safetensors"], "made by the model lively-autoencoder"),
        (["decode", "song.embedding.safetensors", "--model", str(tiny_model)], "is a restorer"),
        (["decode", "missing.safetensors", *model], "missing.safetensors: No such file"),
        (["decode", "text.safetensors", *model], "text.safetensors is damaged, truncated"),
        (["decode", "cut.embedding.safetensors", *model], "truncated"),
        (["decode", "song.wav", *model], "song.wav is damaged, truncated or no safetensors file"),
        (["decode", "song.embedding.safetensors", "-o", "song.xyz", *model], "end it in one of"),
        (["similar", "song.wav", "missing", *model], "is no folder"),
        (["similar", "missing.wav", ".", *model], "missing.wav"),
    ):
        assert main(arguments) == 2, arguments
        assert message in error_of(capsys), arguments
    assert set(tmp_path.iterdir()) == before


def test_odd_files_are_read_as_by_restore(
    write_chord: WriteChord, autoencoder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "songs"
    folder.mkdir()
    song, cut = write_chord(), folder / "cut.flac"
    cut.write_bytes(write_chord("whole.flac").read_bytes()[:12_000])
    command = ["encode", str(cut), "-o", str(tmp_path / "cut.safetensors"), "--model", autoencoder]
    assert main(command) == 2
    sentence = re.escape(f"{cut} is truncated or damaged: ") + r"0\.\d s of 0\.5 s can be decoded"
    assert re.fullmatch(f"unlossy: {sentence}; add --partial to take what is there\n", error_of(capsys))
    assert main([*command, "--strict"]) == 2
    assert re.fullmatch(f"unlossy: {sentence}\n", error_of(capsys))
    assert main([*command, "--partial"]) == 0
    assert re.fullmatch(f"unlossy: warning: {sentence}\n", error_of(capsys))
    assert load_embedding(tmp_path / "cut.safetensors").num_frames < 20_000
    command = ["similar", str(song), str(folder), "--model", autoencoder]
    assert main(command) == 1
    assert "add --partial to take what is there" in capsys.readouterr().err
    assert main([*command, "--partial"]) == 0
    output = capsys.readouterr()
    assert str(cut) in output.out
    assert re.fullmatch(f"unlossy: warning: {sentence}\n", output.err)


def test_another_models_embedding_is_refused(
    write_chord: WriteChord, autoencoder: str, make_autoencoder: Callable[..., UnlossyAutoencoder], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    make_autoencoder(embedding_size=16).save_pretrained(tmp_path / "other")
    assert main(["encode", str(write_chord()), "--model", autoencoder]) == 0
    capsys.readouterr()
    file = str(tmp_path / "song.embedding.safetensors")
    assert main(["decode", file, "--model", str(tmp_path / "other")]) == 2
    assert "made by the model lively-autoencoder" in error_of(capsys)


def test_similar(write_chord: WriteChord, autoencoder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Copies rank first, and bad files don't stop the others."""
    song = write_chord("folder/song.wav")
    noise = np.random.default_rng(0).normal(0, 0.1, (30_000, 2))
    soundfile.write(tmp_path / "folder" / "noise.flac", noise, 44_100)
    (tmp_path / "folder" / "bad.mp3").write_text("no audio")
    (tmp_path / "folder" / "link.mp3").symlink_to("nowhere.mp3")
    query = Path(shutil.copy(song, tmp_path / "query.wav"))
    assert main(["encode", str(song), "--bits", "32", "--model", autoencoder]) == 0
    capsys.readouterr()
    assert main(["similar", str(query), str(tmp_path / "folder"), "--model", autoencoder]) == 1
    output = capsys.readouterr()
    lines = output.out.splitlines()
    assert [line.split("folder/")[1] for line in lines[:2]] == ["song.wav", "song.embedding.safetensors"]
    assert lines[0].split()[:2] == ["1", "1.000"]
    assert lines[2].endswith("noise.flac")
    assert len(lines) == 3
    assert "2 could not be compared" in output.err
    assert "bad.mp3" in output.err
    assert "no such file" in output.err
    assert main(["similar", str(query), str(tmp_path / "folder"), "--model", autoencoder, "--top", "1"]) == 1
    assert len(capsys.readouterr().out.splitlines()) == 1
