"""Files that are damaged at random are restored or refused in one sentence, and nothing else ever happens."""

from pathlib import Path

import pytest
from fuzz.run import fuzz
from fuzz.seeds import make_seeds

from unlossy.hub.audio_unlossy import AudioReader


def test_whole_files_are_read_without_a_word() -> None:
    silent = {"tracks.mkv", "joined.mp3", "chained.ogg", "adpcm.avi"}  # which have something odd
    for name, data in make_seeds().items():
        with AudioReader(data) as reader:
            seconds = sum(block.shape[1] for block in reader.blocks(5000)) / reader.sampling_rate
        assert seconds > 0.35, name
        assert not reader.warnings or name in silent, reader.warnings


@pytest.mark.slow
def test_damaged_files_are_restored_or_refused(tiny_model: Path) -> None:
    report = fuzz(400, 0, tiny_model)
    assert report.findings == []
    assert report.codes[0] > 100
    assert report.codes[2] > 50
