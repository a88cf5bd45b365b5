"""`unlossy stream` and `restore_stream`: the samples of `restore`, while the input is still going on."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from signals import RATE, notes

from unlossy import load_model, restore, restore_stream
from unlossy.hub.restoration_unlossy import stream_delay


def stream(*arguments: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "unlossy_cli", "stream", *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.mark.parametrize("channels", [1, 6])
@pytest.mark.parametrize("rate", [44_100, 22_050, 48_000])
def test_samples_are_those_of_restore(channels: int, rate: int) -> None:
    audio = notes(4 * rate, channels, rate)
    cuts = np.random.default_rng(0).integers(1, audio.shape[1], 20)
    blocks = np.split(audio, np.sort(cuts), axis=1)
    whole = np.asarray(restore(audio, sampling_rate=rate).audio)
    given = np.concatenate(list(restore_stream(blocks, rate)), axis=1)
    np.testing.assert_allclose(given, whole, atol=2e-5)


def test_no_more_than_the_delay_is_held_back() -> None:
    model = load_model()
    given, taken = 0, 0

    def play() -> Iterator[np.ndarray]:
        nonlocal given
        audio = notes(6 * RATE)
        for start in range(0, audio.shape[1], 4410):
            yield audio[:, start : start + 4410]
            given += 4410

    for block in restore_stream(play(), RATE, model):
        taken += block.shape[1]
        assert given - taken <= stream_delay(model) * RATE + 4410
    assert taken == 6 * RATE
    assert stream_delay(model) < 1.8


def test_a_program_behind_it_hears_while_the_one_before_still_plays() -> None:
    audio = (notes(8 * RATE) * 2**15).astype("<i2")
    with stream("--rate", str(RATE)) as process, ThreadPoolExecutor(1) as player:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        player.submit(process.stdin.write, audio[:, : 4 * RATE].T.tobytes())
        first = process.stdout.read(4 * 2 * RATE)  # two seconds, while standard input is open
        assert len(first) == 4 * 2 * RATE
        player.submit(process.stdin.write, audio[:, 4 * RATE :].T.tobytes() + b"?")
        player.submit(process.stdin.close)
        rest, error = process.stdout.read(), process.stderr.read()
    assert process.returncode == 0
    given = np.frombuffer(first + rest, "<i2").reshape(-1, 2).T / 2**15
    wanted = np.asarray(restore(audio / np.float32(2**15), sampling_rate=RATE).audio)
    np.testing.assert_allclose(given, wanted, atol=3 / 2**15)
    assert error.decode() == "unlossy: warning: standard input ends within a sample: its last 1 bytes are left out\n"


def test_whoever_stops_listening_ends_it() -> None:
    audio = notes(8 * RATE).T.astype("<f4").tobytes()
    with stream("--rate", str(RATE), "--samples", "f32le") as process, ThreadPoolExecutor(1) as player:
        assert process.stdin is not None
        assert process.stdout is not None
        playing = player.submit(process.stdin.write, 4 * audio)
        process.stdout.read(1000)
        process.stdout.close()
        with pytest.raises(BrokenPipeError):
            playing.result(60)
        assert process.wait(60) == 141
        assert process.stderr is not None
        assert b"Traceback" not in process.stderr.read()


def test_mistakes_are_named() -> None:
    with stream("--rate", "44100", "--channels", "9") as process:
        assert b"invalid choice: 9" in process.communicate()[1]
    with stream("--rate", "4000") as process:
        assert b"must be a whole number from 8000 to 192000" in process.communicate(b"1234" * 10)[1]
    with stream("--rate", "44100") as process:  # nothing to restore is no mistake
        out, error = process.communicate(b"")
        assert (out, error, process.returncode) == (b"", b"", 0)


def test_blocks_must_be_audio() -> None:
    with pytest.raises(ValueError, match="NaN or infinite"):
        list(restore_stream([np.full((2, 100), np.nan, np.float32)], RATE))
    with pytest.raises(ValueError, match="detail must be from 0 to 1, got 2"):
        list(restore_stream([np.zeros((2, 100), np.float32)], RATE, detail=2))
