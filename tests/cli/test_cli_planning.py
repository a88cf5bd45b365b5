"""Which files a run takes, where its results go, and how they are shared out."""

import re
from pathlib import Path

import pytest
import soundfile
from odd_files import encode, make_music

from unlossy.hub.audio_unlossy import AudioReader
from unlossy_cli.entry import describe
from unlossy_cli.planning import STANDARD, Job, UsageError, choose_format, plan_jobs, search
from unlossy_cli.sharing import Share


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def outputs(jobs: list[Job], base: Path) -> dict[str, str]:
    return {job.input.relative_to(base).as_posix(): job.output.relative_to(base).as_posix() for job in jobs}


def test_result_lies_beside_a_single_file(tmp_path: Path) -> None:
    jobs, *_ = plan_jobs([tmp_path / "song.mp3"], None, "flac")
    assert outputs(jobs, tmp_path) == {"song.mp3": "song.restored.flac"}


def test_folder(tmp_path: Path) -> None:
    """Its sub-folders are kept, and what is no input is skipped."""
    touch(tmp_path, "in/b/two.OGG", "in/a.mp3", "in/cover.jpg", "in/.hidden.mp3", "in/.trash/x.mp3")
    touch(tmp_path, "in/old.restored.flac", "in/out/earlier.flac")
    jobs, errors, _ = plan_jobs([tmp_path / "in"], str(tmp_path / "in" / "out"), "wav")
    assert outputs(jobs, tmp_path) == {"in/a.mp3": "in/out/a.wav", "in/b/two.OGG": "in/out/b/two.wav"}
    assert errors == []
    jobs, *_ = plan_jobs([tmp_path / "in" / "b"], None, "flac")
    assert outputs(jobs, tmp_path) == {"in/b/two.OGG": "in/b/two.restored.flac"}


def test_results_beside_inputs_are_marked(tmp_path: Path) -> None:
    touch(tmp_path, "a.flac")
    jobs, *_ = plan_jobs([tmp_path], str(tmp_path), "flac")
    assert outputs(jobs, tmp_path) == {"a.flac": "a.restored.flac"}


@pytest.mark.parametrize("output", ["out", "out/", "out.d/"])
def test_output_that_looks_like_a_folder_is_one(tmp_path: Path, output: str) -> None:
    jobs, *_ = plan_jobs([tmp_path / "in" / "song.mp3"], f"{tmp_path}/{output}", "flac")
    assert jobs[0].output == tmp_path / output / "song.flac"


def test_file_named_twice_is_restored_once(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp3")
    jobs, *_ = plan_jobs([tmp_path, tmp_path / "a.mp3"], None, "flac")
    assert len(jobs) == 1


def test_names_that_collide_keep_their_suffixes(tmp_path: Path) -> None:
    touch(tmp_path, "song.mp3", "song.wav", "other.mp3")
    jobs, errors, _ = plan_jobs([tmp_path], f"{tmp_path}/out/", "flac")
    assert errors == []
    assert outputs(jobs, tmp_path) == {
        "other.mp3": "out/other.flac", "song.mp3": "out/song.mp3.flac", "song.wav": "out/song.wav.flac"
    }  # fmt: skip
    jobs, *_ = plan_jobs([tmp_path / "song.mp3", tmp_path / "song.wav"], None, "flac")
    assert [job.output.name for job in jobs] == ["song.mp3.restored.flac", "song.wav.restored.flac"]


def test_two_inputs_with_one_output(tmp_path: Path) -> None:
    """One of them fails."""
    touch(tmp_path, "a/song.mp3", "b/song.mp3", "b/other.mp3")
    files = [tmp_path / "a/song.mp3", tmp_path / "b/song.mp3", tmp_path / "b/other.mp3"]
    jobs, errors, _ = plan_jobs(files, f"{tmp_path}/out/", "flac")
    assert outputs(jobs, tmp_path) == {"a/song.mp3": "out/song.mp3.flac", "b/other.mp3": "out/other.flac"}
    assert len(errors) == 1
    assert re.search(r"b/song\.mp3 and .*a/song\.mp3 would both be written to .*song\.mp3\.flac", errors[0])


def test_output_that_is_an_input_is_refused(tmp_path: Path) -> None:
    song = tmp_path / "song.flac"
    jobs, errors, _ = plan_jobs([song], str(song), "flac")
    assert jobs == []
    assert errors == [f"{song}: this output is also an input; choose another one with -o"]


def test_a_folder_without_audio_costs_only_itself(tmp_path: Path) -> None:
    touch(tmp_path, "one/song.mp3", "scans/front.png", "two/song.mp3")
    folders = [tmp_path / "one", tmp_path / "scans", tmp_path / "two"]
    jobs, errors, warnings = plan_jobs(folders, None, "flac")
    assert [len(jobs), errors] == [2, []]
    assert warnings == [f"{tmp_path / 'scans'}: no audio files in this folder"]
    with pytest.raises(UsageError, match="no audio files"):
        plan_jobs([tmp_path / "scans"], None, "flac")


@pytest.mark.parametrize("name", ["all.flac", "all", "new.flac"])
def test_file_as_output_of_several_inputs(tmp_path: Path, name: str) -> None:
    """It is refused."""
    touch(tmp_path, "all.flac", "all")
    inputs = [tmp_path / "a.mp3", tmp_path / "b.mp3"]
    with pytest.raises(UsageError, match="need a folder"):
        plan_jobs(inputs, str(tmp_path / name), "flac")
    jobs, *_ = plan_jobs(inputs, f"{tmp_path}/new.flac/", "flac")
    assert outputs(jobs, tmp_path) == {"a.mp3": "new.flac/a.flac", "b.mp3": "new.flac/b.flac"}


def test_name_that_leads_nowhere(tmp_path: Path) -> None:
    """It does not stop the other files."""
    touch(tmp_path, "a.mp3")
    (tmp_path / "loop.mp3").symlink_to("loop.mp3")
    jobs, *_ = plan_jobs([tmp_path, tmp_path / f"{'b' * 300}.mp3"], f"{tmp_path}/out/", "flac")
    assert [job.input.name[:4] for job in jobs] == ["a.mp", "loop", "bbbb"]


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(32, "Broken pipe"), "Broken pipe"),
        (OSError(13, "Permission denied", "out"), "out: Permission denied"),
        (ValueError("x is wrong"), "x is wrong"),
    ],
)
def test_errors_are_told_without_numbers(error: Exception, sentence: str) -> None:
    assert describe(error) == sentence


def test_suffixes_in_a_folder(tmp_path: Path) -> None:
    """Recordings of all kinds, and videos, are found."""
    kinds = {"webm": "libopus", "mp4": "aac", "m4v": "aac", "mkv": "aac", "3gp": "aac", "3g2": "aac", "mov": "aac"}
    kinds |= {"avi": "libmp3lame", "flv": "libmp3lame", "wmv": "wmav2", "ts": "aac", "m2ts": "aac", "mpg": "mp2"}
    kinds |= {"ogv": "libopus", "nut": "libmp3lame", "rm": "ac3", "vob": "ac3", "voc": "pcm_s16le", "aifc": "pcm_s16le"}
    containers = {"mkv": "matroska", "wmv": "asf", "ts": "mpegts", "m2ts": "mpegts", "mpg": "mpeg", "aifc": "aiff"}
    containers |= {"m4v": "mp4"}
    samples = {"libopus": "flt", "mp2": "s16", "pcm_s16le": "s16"}
    for suffix, codec in kinds.items():
        rate = 48_000 if codec == "libopus" else 44_100
        kind = samples.get(codec, "fltp")
        data = encode(make_music(0.5, rate), containers.get(suffix, suffix), codec, rate, kind)
        (tmp_path / f"{suffix}.{suffix.upper()}").write_bytes(data)
    soundfile.write(tmp_path / "gsm.gsm", make_music(0.5, 8000, 1)[0], 8000, format="RAW", subtype="GSM610")
    (tmp_path / "notes.txt").write_text("no sound")
    names = [path.name for path in search(tmp_path, None, [])]
    assert names == sorted([*(f"{suffix}.{suffix.upper()}" for suffix in kinds), "gsm.gsm"])
    for name in names:
        with AudioReader(tmp_path / name) as reader:
            assert sum(block.shape[1] for block in reader.blocks(5000)) / reader.sampling_rate > 0.4, name


def test_standard_input_and_output_are_alone(tmp_path: Path) -> None:
    assert plan_jobs([STANDARD], "-", "wav").jobs == [Job(STANDARD, STANDARD)]
    assert plan_jobs([STANDARD], "x.flac", "flac").jobs == [Job(STANDARD, Path("x.flac"))]
    assert plan_jobs([Path("x.mp3")], "-", "wav").jobs == [Job(Path("x.mp3"), STANDARD)]
    for inputs, output in (
        ([STANDARD, Path("x.mp3")], "out/"),
        ([Path("x.mp3"), Path("y.mp3")], "-"),
        ([tmp_path], "-"),
    ):
        with pytest.raises(UsageError, match="take one file"):
            plan_jobs(inputs, output, "flac")
    for name in (None, "out/", str(tmp_path)):
        with pytest.raises(UsageError, match="standard input has no name for its result"):
            plan_jobs([STANDARD], name, "flac")


@pytest.mark.parametrize(
    ("output", "wanted", "bit_depth", "expected"),
    [
        ("-", None, None, "wav"),
        ("-", "opus", None, "opus"),
        ("Mr. Song vol. 2", None, None, "flac"),
        (None, None, None, "flac"),
        (None, "mp3", None, "mp3"),
        ("x.WAV", None, "32f", "wav"),
        ("x.m4a", "m4a", None, "m4a"),
        ("folder/", "opus", None, "opus"),
    ],
)
def test_format(output: str | None, wanted: str | None, bit_depth: str | None, expected: str) -> None:
    assert choose_format([Path("song.mp3")], output, wanted, bit_depth) == expected


@pytest.mark.parametrize(
    ("output", "wanted", "bit_depth", "message"),
    [
        ("x.xyz", None, None, "cannot write 'xyz' files"),
        ("x.mp3", "wav", None, "--format"),
        (None, "flac", "32f", "--bit-depth 32f does not fit the output format flac, which takes 16, 24"),
        (None, "mp3", "16", "which takes no --bit-depth"),
    ],
)
def test_contradictory_formats_are_refused(
    output: str | None, wanted: str | None, bit_depth: str | None, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        choose_format([Path("song.mp3")], output, wanted, bit_depth)


@pytest.mark.parametrize("world_size", [1, 2, 3, 7])
def test_shares_cover_every_file_once(world_size: int) -> None:
    files = list(range(5))
    shares = [Share(rank, world_size).of(files) for rank in range(world_size)]
    assert sorted(file for share in shares for file in share) == files
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_share_of_a_launched_process(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("RANK", "3"), ("WORLD_SIZE", "4"), ("LOCAL_RANK", "1"), ("LOCAL_WORLD_SIZE", "2")):
        monkeypatch.setenv(name, value)
    assert Share.from_environment() == Share(3, 4, 1, 2)
    monkeypatch.setenv("RANK", "4")
    with pytest.raises(ValueError, match="RANK 4"):
        Share.from_environment()
