"""Speakers stay the speakers they were, in every format that has them; where one has not, a sentence says so."""

from pathlib import Path

import av
import numpy as np
import pytest
from odd_files import caf_bytes, wav_bytes

from unlossy.hub.audio_unlossy import AudioReader
from unlossy.hub.audio_writing_unlossy import AudioWriter
from unlossy.hub.layout_unlossy import DEFAULT_SPEAKERS, Speakers, channel_groups, place_speakers, sort_speakers
from unlossy.hub.modeling_unlossy import UnlossyModel
from unlossy.hub.restoration_unlossy import restore

RATE = 48_000
# Bits of a WAV file's mask.
MASKS: dict[Speakers, int] = {
    ("FL",): 0x1,
    ("FC", "LFE"): 0xC,
    ("FL", "FR", "LFE"): 0xB,
    ("FL", "FR", "FC", "LFE"): 0xF,
    ("FL", "FR", "FC", "BC"): 0x107,
    ("FL", "FR", "SL", "SR"): 0x603,
    ("FL", "FR", "FC", "LFE", "BC"): 0x10F,
    ("FL", "FR", "FC", "LFE", "SL", "SR"): 0x60F,
    ("FL", "FR", "FC", "BC", "SL", "SR"): 0x707,
    ("FL", "FR", "FC", "LFE", "BL", "BR", "FLC", "FRC"): 0xFF,
    ("FL", "FR", "TFL", "TFR"): 0x5003,
}


def tones(speakers: Speakers) -> np.ndarray:
    """A second with another tone in every channel, low in that of the subwoofer."""
    pitches = [40 if name == "LFE" else 300 * (number + 1) for number, name in enumerate(speakers)]
    time = np.arange(RATE) / RATE
    return (0.2 * np.sin(2 * np.pi * np.array(pitches)[:, None] * time)).astype(np.float32)


def read_tones(path: Path) -> dict[str, int]:
    """The tone of each speaker [Hz], 0 where it is silent."""
    with AudioReader(path) as reader:
        audio, speakers = np.concatenate(list(reader.blocks(RATE)), axis=1)[:, :RATE], reader.speakers
    return {
        name: int(np.abs(np.fft.rfft(channel)).argmax()) if np.abs(channel).max() > 0.01 else 0
        for name, channel in zip(speakers, audio, strict=True)
    }


@pytest.mark.parametrize("suffix", ["wav", "flac"])
@pytest.mark.parametrize("speakers", MASKS, ids="+".join)
def test_lossless_formats_keep_every_layout(
    tmp_path: Path, lively_model: UnlossyModel, speakers: Speakers, suffix: str
) -> None:
    source, result = tmp_path / "in.wav", tmp_path / f"out.{suffix}"
    audio = tones(speakers)
    source.write_bytes(wav_bytes((audio.T * 32767).astype("<i2"), RATE, MASKS[speakers]))
    restored = restore(source, lively_model, output=result)
    assert restored.warnings == ()
    assert read_tones(result) == read_tones(source)
    with AudioReader(result) as reader:
        assert reader.speakers == speakers
        assert not any("mask" in name for name in reader.tags.fields)


@pytest.mark.parametrize(
    ("suffix", "speakers", "written"),
    [
        *((suffix, speakers, speakers) for suffix in ("opus", "m4a") for speakers in DEFAULT_SPEAKERS.values()),
        ("mp3", ("FL",), ("FC",)),
        ("mp3", ("FC", "LFE"), ("FL", "FR")),
        ("m4a", ("FL", "FR", "FC", "BC"), ("FL", "FR", "FC", "BC")),
        ("m4a", ("FL", "FR", "LFE"), ("FL", "FR", "LFE")),
        ("m4a", ("FL", "FR", "FC", "LFE"), DEFAULT_SPEAKERS[6]),
        ("opus", ("FL", "FR", "LFE"), DEFAULT_SPEAKERS[6]),
        ("opus", ("FL", "FR", "FC", "LFE", "SL", "SR"), DEFAULT_SPEAKERS[6]),
        ("opus", ("FL", "FR", "FC", "LFE", "BC"), DEFAULT_SPEAKERS[7]),
        ("opus", ("FL", "FR", "TFL", "TFR"), DEFAULT_SPEAKERS[4]),
    ],
)
def test_lossy_formats_keep_speakers_in_their_places(
    tmp_path: Path, suffix: str, speakers: Speakers, written: Speakers
) -> None:
    path = tmp_path / f"out.{suffix}"
    with AudioWriter(path, RATE, len(speakers), speakers=speakers) as writer:
        writer.write(tones(speakers))
    with AudioReader(source_of(tmp_path, speakers)) as reader:
        assert reader.speakers == speakers
    before, after = read_tones(source_of(tmp_path, speakers)), read_tones(path)
    assert tuple(after) == written
    back = {"SL": "BL", "SR": "BR"}
    expected = {name if name in written else back.get(name, name): tone for name, tone in before.items()}
    if set(expected) <= set(written):
        assert after == dict.fromkeys(written, 0) | expected
        assert bool(writer.warnings) == (len(written) > len(speakers))
    else:
        assert list(after.values()) == list(before.values())
        assert bool(writer.warnings) == (len(speakers) > 1)
    if writer.warnings:
        assert (
            f"{path}: {suffix} has no layout {'+'.join(speakers)}: {'+'.join(written)} is written" in writer.warnings[0]
        )


def source_of(folder: Path, speakers: Speakers) -> Path:
    path = folder / "source.wav"
    with AudioWriter(path, RATE, len(speakers), speakers=speakers, overwrite=True) as writer:
        writer.write(tones(speakers))
    return path


def test_surround_of_other_codecs_keeps_its_layout(tmp_path: Path) -> None:
    path = tmp_path / "in.ac3"
    speakers = ("FL", "FR", "FC", "BC")
    with av.open(str(path), "w", format="ac3") as output:
        stream = output.add_stream("ac3", rate=RATE, layout="4.0")
        stream.bit_rate = 384_000
        frame = av.AudioFrame.from_ndarray(tones(speakers).T.reshape(1, -1).copy(), format="flt", layout="4.0")
        frame.sample_rate = RATE
        for packet in (*stream.encode(frame), *stream.encode(None)):
            output.mux(packet)
    assert read_tones(path) == {"FL": 300, "FR": 600, "FC": 900, "BC": 1200}


def test_channels_in_another_order_are_sorted(tmp_path: Path) -> None:
    """A CAF file of 5.1 as films have it: left, centre, right, left and right surround, subwoofer."""
    path = tmp_path / "in.caf"
    order = ("FL", "FC", "FR", "SL", "SR", "LFE")
    path.write_bytes(caf_bytes(tones(order).T * 32767, RATE, 123))  # kCAFChannelLayoutTag_MPEG_5_1_C
    tone_of = dict(zip(order, (300, 600, 900, 1200, 1500, 40), strict=True))
    found = read_tones(path)
    assert list(found) == ["FL", "FR", "FC", "LFE", "SL", "SR"]
    assert found == tone_of


def test_names_that_say_nothing_mean_the_default() -> None:
    assert sort_speakers(["NONE"] * 5) == (DEFAULT_SPEAKERS[5], [0, 1, 2, 3, 4])
    assert sort_speakers(["FL", "FL", "FR"])[0] == DEFAULT_SPEAKERS[3]
    assert sort_speakers(["DL", "DR"])[0] == ("FL", "FR")
    assert sort_speakers(["FC", "FR", "FL"]) == (("FL", "FR", "FC"), [2, 1, 0])


def test_ambisonics_are_no_pairs() -> None:
    speakers, _ = sort_speakers(["AMBI0", "AMBI1", "AMBI2", "AMBI3"])
    assert channel_groups(speakers) == [[0], [1], [2], [3]]
    assert place_speakers(speakers, DEFAULT_SPEAKERS.values()) == (DEFAULT_SPEAKERS[4], [0, 1, 2, 3], False)


def test_left_and_right_belong_together() -> None:
    assert channel_groups(("FL", "FR", "FC", "LFE")) == [[0, 1], [2], [3]]
    assert channel_groups(("FL", "FR", "FC", "BC", "SL", "SR")) == [[0, 1], [2], [3], [4, 5]]
    assert channel_groups(("FL", "FR", "TFL", "TFR")) == [[0, 1], [2, 3]]
    assert channel_groups(("FL", "FC", "BC")) == [[0], [1], [2]]
    assert channel_groups(("FC", "SR")) == [[0], [1]]
    assert channel_groups(DEFAULT_SPEAKERS[8]) == [[0, 1], [2], [3], [4, 5], [6, 7]]
