"""Tags, pictures and chapters: all of them come through, in the output format's own way, or a sentence says what not.

Mutagen writes the inputs and reads the outputs, with its own classes.
"""

import base64
import io
import struct
import subprocess
import sys
import zlib
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
from mutagen import aiff, apev2, flac, id3, mp3, mp4, oggopus, oggvorbis, wave
from odd_files import encode, make_music
from signals import RATE

from unlossy.hub import tags_writing_unlossy
from unlossy.hub.audio_unlossy import AudioReader
from unlossy.hub.audio_writing_unlossy import AudioWriter
from unlossy.hub.tags_reading_unlossy import read_tags
from unlossy.hub.tags_unlossy import Chapter, Picture, Tags, inspect_picture
from unlossy_cli import main, restore

FORMATS = ("flac", "mp3", "opus", "m4a", "wav")
MUSIC = make_music(0.5)

FIELDS = {
    "title": ["Für Elise 東京事変"],
    "artist": ["Ann", "Bob; the Builder"],
    "albumartist": ["Ann & Bob"],
    "artistsort": ["Ann, A."],
    "albumsort": ["Bagatelles, The"],
    "genre": ["Jazz", "Folk"],
    "date": ["1810-04-27"],
    "tracknumber": ["3"],
    "tracktotal": ["12"],
    "discnumber": ["1"],
    "disctotal": ["2"],
    "composer": ["Łukasz Żółć"],
    "comment": ["Кукушка"],
    "lyrics": ["La la\nla"],
    "bpm": ["120"],
    "isrc": ["XX0000000001"],
    "compilation": ["1"],
    "musicbrainz_trackid": ["6b3f1c0e-0000-4000-8000-000000000001"],
    "musicbrainz_albumid": ["6b3f1c0e-0000-4000-8000-000000000002"],
    "musicbrainz_releasegroupid": ["6b3f1c0e-0000-4000-8000-000000000003"],
    "performer": ["Carl (piano)", "Dora (cello)"],
    "producer": ["Eve"],
    "language": ["deu"],
    "my own field": ["x=y", "z"],
}
ID3 = {
    "TIT2": FIELDS["title"], "TPE1": FIELDS["artist"], "TPE2": FIELDS["albumartist"], "TSOP": FIELDS["artistsort"],
    "TSOA": FIELDS["albumsort"], "TCON": FIELDS["genre"], "TDRC": FIELDS["date"], "TRCK": ["3/12"], "TPOS": ["1/2"],
    "TCOM": FIELDS["composer"], "TBPM": ["120"], "TSRC": FIELDS["isrc"], "TCMP": ["1"], "TLAN": ["deu"],
    "TXXX:MusicBrainz Album Id": FIELDS["musicbrainz_albumid"], "COMM::XXX": FIELDS["comment"],
    "TXXX:MusicBrainz Release Group Id": FIELDS["musicbrainz_releasegroupid"],
    "TXXX:MY OWN FIELD": FIELDS["my own field"],
}  # fmt: skip
MP4 = {
    "©nam": FIELDS["title"], "©ART": FIELDS["artist"], "aART": FIELDS["albumartist"], "soar": FIELDS["artistsort"],
    "soal": FIELDS["albumsort"], "©gen": FIELDS["genre"], "©day": FIELDS["date"], "trkn": [(3, 12)], "disk": [(1, 2)],
    "©wrt": FIELDS["composer"], "©cmt": FIELDS["comment"], "©lyr": FIELDS["lyrics"], "tmpo": [120], "cpil": True,
}  # fmt: skip
FREEFORM = {
    "ISRC": "isrc", "MusicBrainz Track Id": "musicbrainz_trackid", "MusicBrainz Album Id": "musicbrainz_albumid",
    "MusicBrainz Release Group Id": "musicbrainz_releasegroupid", "PERFORMER": "performer", "PRODUCER": "producer",
    "LANGUAGE": "language", "MY OWN FIELD": "my own field",
}  # fmt: skip


def make_png(width: int, height: int, seed: int = 0) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    pixels = np.random.default_rng(seed).integers(0, 256, (height, 1 + 3 * width), dtype=np.uint8)
    pixels[:, 0] = 0  # no filter
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(pixels.tobytes(), 1)) + chunk(b"IEND", b"")


def write(path: Path, tags: Tags | None = None) -> list[str]:
    with AudioWriter(path, RATE, 2, tags=tags) as writer:
        known = list(writer.warnings)  # before the work
        writer.write(MUSIC)
    assert writer.warnings == known
    return known


def read(path: Path) -> tuple[Tags, list[str]]:
    with AudioReader(path) as reader:
        tags = reader.tags
        audio = np.concatenate(list(reader.blocks(100_000)), axis=1)
        rate = reader.sampling_rate
    assert audio.shape == (2, -(-MUSIC.shape[1] * rate // RATE))  # tags change nothing about the audio
    return tags, [warning.removeprefix(f"{path}: ") for warning in reader.warnings]


def open_tags(path: Path) -> Any:
    kinds: dict[str, Any] = {"flac": flac.FLAC, "mp3": mp3.MP3, "opus": oggopus.OggOpus, "m4a": mp4.MP4}
    return (kinds | {"wav": wave.WAVE, "aiff": aiff.AIFF, "ogg": oggvorbis.OggVorbis})[path.suffix[1:]](path)


def add_id3(path: Path, *frames: Any, version: int = 4) -> None:
    audio = open_tags(path)
    if audio.tags is None:
        audio.add_tags()
    for frame in frames:
        audio.tags.add(frame)
    audio.save(v2_version=version)


def id3_frames() -> list[Any]:
    frames = [id3.Frames[name](encoding=3, text=text) for name, text in ID3.items() if len(name) == 4]
    frames += [id3.TXXX(encoding=3, desc=name[5:], text=text) for name, text in ID3.items() if name.startswith("TXXX:")]
    frames += [
        id3.UFID(owner="http://musicbrainz.org", data=FIELDS["musicbrainz_trackid"][0].encode()),
        id3.COMM(encoding=3, lang="eng", desc="", text=FIELDS["comment"]),
        id3.USLT(encoding=3, lang="eng", desc="", text=FIELDS["lyrics"][0]),
        id3.TMCL(encoding=3, people=[["piano", "Carl"], ["cello", "Dora"]]),
        id3.TIPL(encoding=3, people=[["producer", "Eve"]]),
    ]
    return frames


@pytest.mark.parametrize("suffix", FORMATS)
def test_fields_are_written_where_taggers_look_for_them(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out.{suffix}"
    assert write(path, Tags(FIELDS)) == []
    tags = open_tags(path).tags
    if suffix in ("flac", "opus"):
        for name, values in FIELDS.items():
            assert tags[name] == values
    elif suffix == "m4a":
        for atom, value in MP4.items():
            assert tags[atom] == value
        for name, field in FREEFORM.items():
            assert [bytes(value).decode() for value in tags[f"----:com.apple.iTunes:{name}"]] == FIELDS[field]
    else:
        assert tags.version == (2, 4, 0)
        for name, values in ID3.items():
            assert [str(text) for text in tags[name].text] == values
        assert tags["UFID:http://musicbrainz.org"].data.decode() == FIELDS["musicbrainz_trackid"][0]
        assert tags["USLT::XXX"].text == FIELDS["lyrics"][0]
        assert tags["TMCL"].people == [["piano", "Carl"], ["cello", "Dora"]]
        assert tags["TIPL"].people == [["producer", "Eve"]]
    assert read(path) == (Tags(FIELDS), [])
    if suffix == "wav":
        path.write_bytes(path.read_bytes().replace(b"id3 ", b"junk"))
        basic, _ = read(path)  # for programs that know no ID3 in WAV
        assert basic.fields["title"] == FIELDS["title"]
        assert basic.fields["artist"] == ["Ann; Bob; the Builder"]


@pytest.mark.parametrize("kind", ["v2.3", "v2.4", "wav", "aiff", "flac", "ogg", "m4a", "ape"])
def test_fields_are_read_with_all_their_values(tmp_path: Path, kind: str) -> None:
    suffix = {"v2.3": "mp3", "v2.4": "mp3", "ape": "mp3"}.get(kind, kind)
    path = tmp_path / f"in.{suffix}"
    if suffix in ("ogg", "aiff"):
        soundfile.write(path, MUSIC.T, RATE)
    else:
        write(path)
    expected = dict(FIELDS)
    if kind in ("v2.3", "v2.4", "wav", "aiff"):
        add_id3(path, *id3_frames(), version=int(kind[-1]) if kind[0] == "v" else 4)
        if kind == "v2.3":  # which joins several values with slashes
            expected |= {"artist": ["Ann/Bob; the Builder"], "genre": ["Jazz/Folk"], "my own field": ["x=y/z"]}
    elif kind == "ape":
        tags = apev2.APEv2()
        names = {"tracknumber": "Track", "discnumber": "Disc", "date": "Year", "albumartist": "Album Artist"}
        for name, values in (FIELDS | {"tracknumber": ["3/12"], "discnumber": ["1/2"]}).items():
            if not name.endswith("total"):
                tags[names.get(name, name.title())] = values
        tags.save(path)
    else:
        audio = open_tags(path)
        if kind == "m4a":
            audio.tags.update(MP4)
            for name, field in FREEFORM.items():
                audio.tags[f"----:com.apple.iTunes:{name}"] = [value.encode() for value in FIELDS[field]]
        else:
            for name, values in FIELDS.items():
                audio[name] = values
        audio.save()
    assert read(path) == (Tags(expected), [])


def test_the_title_of_a_track_does_not_replace_that_of_the_song(tmp_path: Path) -> None:
    path = tmp_path / "in.mka"
    with av.open(str(path), "w", format="matroska") as output:
        output.metadata.update({"title": "Nimrod", "artist": "Elgar"})
        stream = output.add_stream("flac", rate=RATE, layout="stereo")
        stream.metadata["title"] = "Stereo"
        frame = av.AudioFrame.from_ndarray(np.zeros((1, RATE), np.int16), format="s16", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
        output.mux([*stream.encode(frame), *stream.encode(None)])
    with av.open(str(path)) as container:
        assert container.streams.audio[0].metadata["title"] == "Stereo"
    with AudioReader(path) as reader:
        assert reader.tags.fields == {"title": ["Nimrod"], "artist": ["Elgar"]}


def test_fields_of_matroska_are_read(tmp_path: Path) -> None:
    path = tmp_path / "in.mka"
    tags = {"title": "Für Elise", "artist": "Ann", "track": "3/12", "album_artist": "Bob", "language": "ger"}
    path.write_bytes(encode(MUSIC, "matroska", "flac", kind="s16", tags=tags))
    fields = read(path)[0].fields
    expected = {"title": "Für Elise", "artist": "Ann", "tracknumber": "3", "tracktotal": "12", "albumartist": "Bob"}
    assert fields == {name: [text] for name, text in expected.items()}


def test_what_describes_the_old_file_stays_behind(tmp_path: Path) -> None:
    write(tmp_path / "in.flac")
    audio = flac.FLAC(tmp_path / "in.flac")
    audio.update({"title": "x", "ENCODER": "Old", "ENCODED_BY": "Me", "WAVEFORMATEXTENSIBLE_CHANNEL_MASK": "0x3"})
    audio.save()
    assert read(tmp_path / "in.flac") == (Tags({"title": ["x"], "encoded_by": ["Me"]}), [])


@pytest.mark.parametrize("suffix", FORMATS)
def test_pictures_come_with_their_kinds(tmp_path: Path, suffix: str) -> None:
    back, front, artist = make_png(20, 10), make_png(650, 600, 1), make_png(8, 8, 2)
    assert len(front) > 1_000_000
    pictures = (inspect_picture(back, 4), inspect_picture(front, 3, "Hülle"), inspect_picture(artist, 8))
    path = tmp_path / f"out.{suffix}"
    assert write(path, Tags(pictures=pictures)) == []
    audio = open_tags(path)
    found: list[Any]
    if suffix == "m4a":
        assert [bytes(cover) for cover in audio["covr"]] == [front, back, artist]  # the first is what players show
        assert audio["covr"][0].imageformat == mp4.MP4Cover.FORMAT_PNG
        return
    if suffix == "flac":
        found = audio.pictures
    elif suffix == "opus":
        found = [flac.Picture(base64.b64decode(text)) for text in audio["metadata_block_picture"]]
    else:
        found = audio.tags.getall("APIC")
    kept = {(picture.type, picture.mime, picture.desc.strip(), picture.data) for picture in found}
    assert kept == {(p.kind, "image/png", p.description, p.data) for p in pictures}
    if suffix in ("flac", "opus"):
        assert [(picture.width, picture.height) for picture in found] == [(20, 10), (650, 600), (8, 8)]
    assert sorted(read(path)[0].pictures) == sorted(pictures)


@pytest.mark.parametrize("suffix", ["flac", "mp3", "m4a", "ogg", "ape"])
def test_a_picture_alone_is_the_front_cover(tmp_path: Path, suffix: str) -> None:
    data = make_png(8, 8)
    path = tmp_path / f"in.{suffix.replace('ape', 'mp3')}"
    block = flac.Picture()
    block.data, block.mime, block.type = data, "image/png", 0
    if suffix == "ogg":
        soundfile.write(path, MUSIC.T, RATE)
    else:
        write(path)
    if suffix == "ape":
        tags = apev2.APEv2()
        tags["Cover Art (Front)"] = apev2.APEValue(b"cover.png\0" + data, apev2.BINARY)
        tags.save(path)
    elif suffix == "mp3":
        add_id3(path, id3.APIC(encoding=0, mime="PNG", type=0, desc="", data=data))
    else:
        audio = open_tags(path)
        if suffix == "flac":
            audio.add_picture(block)
        elif suffix == "m4a":
            audio["covr"] = [mp4.MP4Cover(data)]
        else:
            audio["metadata_block_picture"] = [base64.b64encode(block.write()).decode()]
        audio.save()
    title = "cover.png" if suffix == "ape" else ""
    assert read(path) == (Tags(pictures=(Picture(data, "image/png", 8, 8, 3, title),)), [])


@pytest.mark.parametrize("data", [b"no picture" * 20, make_png(40, 30)[:-50]])
def test_a_damaged_picture_is_left_out(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "in.mp3"
    write(path)
    add_id3(path, id3.APIC(encoding=0, mime="image/png", type=3, desc="", data=data), id3.TIT2(encoding=3, text="x"))
    assert read(path) == (Tags({"title": ["x"]}), ["a damaged picture is left out"])


def test_what_does_not_fit_is_known_before_the_work(tmp_path: Path) -> None:
    small = inspect_picture(make_png(8, 8))
    large = small._replace(data=bytes(17_000_000))
    tags = Tags({"title": ["x"], "lyrics": ["la" * 10_000_000]}, (large, small))
    for suffix in FORMATS:
        path = tmp_path / f"out.{suffix}"
        remarks = ["'lyrics' is left out, which is too long", "a picture of 17 MB is left out, which is too large"]
        assert write(path, tags) == [f"{path}: {remark}" for remark in remarks]
        assert read(path)[0] == Tags({"title": ["x"]}, (small,))
    gif = small._replace(mime="image/gif")
    path = tmp_path / "gif.m4a"
    assert write(path, Tags(pictures=(gif,))) == [f"{path}: a picture is left out, since M4A holds no image/gif"]


def test_tags_that_cannot_be_written_cost_no_audio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ValueError("no luck")

    monkeypatch.setattr(flac.FLAC, "save", fail)
    path = tmp_path / "out.flac"
    assert write(path, Tags(FIELDS)) == [f"{path}: its tags are left out, which can't be written: no luck"]
    assert read(path) == (Tags(), [])


def test_a_wav_without_room_for_tags_keeps_the_basic_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tags_writing_unlossy, "_LARGEST_WAV", 10_000)  # in place of 4 GB
    path = tmp_path / "out.wav"
    with AudioWriter(path, RATE, 2, tags=Tags(FIELDS)) as writer:
        writer.write(MUSIC)
    remark = "all but the basic tags are left out, since a WAV file of 4 GB has no room for them"
    assert writer.warnings == [f"{path}: {remark}"]
    assert read(path)[0].fields["artist"] == ["Ann; Bob; the Builder"]


@pytest.mark.parametrize("suffix", FORMATS)
def test_hundreds_of_chapters(tmp_path: Path, suffix: str) -> None:
    chapters = tuple(Chapter(number / 1000, (number + 1) / 1000, f"Part {number}") for number in range(500))
    path = tmp_path / f"out.{suffix}"
    assert write(path, Tags(chapters=chapters)) == []
    assert [chapter.title for chapter in read(path)[0].chapters] == [chapter.title for chapter in chapters]


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("kind", ["mp3", "mp4", "opus", "flac", "matroska"])
def test_chapters_are_kept(tmp_path: Path, kind: str, suffix: str) -> None:
    chapters = (Chapter(0, 0.2, "Erstes Kapitel"), Chapter(0.2, 0.5, "第二章"))
    path, output = tmp_path / "in", tmp_path / f"out.{suffix}"
    if kind == "matroska":
        unit = Fraction(1, 1000)
        entries = [
            {
                "id": number,
                "start": round(chapter.start / unit),
                "end": round(chapter.end / unit),
                "time_base": unit,
                "metadata": {"title": chapter.title},
            }
            for number, chapter in enumerate(chapters)
        ]
        path.write_bytes(encode(MUSIC, kind, "flac", kind="s16", chapters=entries))
    else:
        path = path.with_suffix(f".{kind.replace('mp4', 'm4a')}")
        write(path, Tags({"title": ["Buch"]}, chapters=chapters))
    assert write(output, read(path)[0]) == []
    audio = open_tags(output)
    if suffix == "m4a":
        found = [(chapter.start, chapter.title) for chapter in audio.chapters]
    elif suffix in ("mp3", "wav"):
        assert audio.tags["CTOC:toc"].child_element_ids == ["ch0", "ch1"]
        parts = [audio.tags[f"CHAP:{name}"] for name in ("ch0", "ch1")]
        found = [(part.start_time / 1000, part.sub_frames["TIT2"].text[0]) for part in parts]
    else:
        assert (audio["CHAPTER001"], audio["CHAPTER002"]) == (["00:00:00.000"], ["00:00:00.200"])
        found = [(0.2 * number, audio[f"CHAPTER00{number + 1}NAME"][0]) for number in (0, 1)]
    assert [title for _, title in found] == ["Erstes Kapitel", "第二章"]
    np.testing.assert_allclose([start for start, _ in found], [0, 0.2], atol=0.001)
    assert not [name for name in read(output)[0].fields if "chapter" in name]


LEVEL = "its ReplayGain is left out, since the restored audio may have another level"


def test_what_is_no_longer_true_or_private_is_dropped_with_a_word(tmp_path: Path) -> None:
    for suffix in ("mp3", "flac", "opus", "m4a"):
        write(tmp_path / f"in.{suffix}", Tags({"title": ["x"]}))
    add_id3(
        tmp_path / "in.mp3",
        id3.TXXX(encoding=3, desc="replaygain_track_peak", text="1.2"),
        id3.RVA2(desc="track", channel=1, gain=-3, peak=0.5),
        id3.COMM(encoding=0, lang="eng", desc="iTunNORM", text=" 00000AB4"),
        id3.PRIV(owner="TRAKTOR4", data=bytes(5_000_000)),
        id3.GEOB(encoding=0, mime="x", filename="", desc="Serato Markers_", data=b"1"),
        id3.POPM(email="no@one", rating=255),
        id3.TSSE(encoding=3, text="LAME"),
        id3.TLEN(encoding=3, text="500"),
    )
    for suffix, field in (("flac", "REPLAYGAIN_ALBUM_GAIN"), ("opus", "R128_TRACK_GAIN")):
        audio = open_tags(tmp_path / f"in.{suffix}")
        audio[field] = "-3"
        audio.save()
    audio = open_tags(tmp_path / "in.m4a")
    audio["----:com.apple.iTunes:iTunNORM"] = [b" 00000AB4"]
    audio["stik"] = [2]
    audio.save()
    title = Tags({"title": ["x"]})
    private = "data of other programs is left out: "
    names = {"PRIV (TRAKTOR4)", "GEOB (Serato Markers_)", "POPM"}
    found, (level, others) = read(tmp_path / "in.mp3")
    assert (found, level, set(others.removeprefix(private).split(", "))) == (title, LEVEL, names)
    assert read(tmp_path / "in.m4a") == (title, [LEVEL, f"{private}stik"])
    for suffix in ("flac", "opus"):
        assert read(tmp_path / f"in.{suffix}") == (title, [LEVEL])


def id3v1(title: bytes, artist: bytes = b"") -> bytes:
    return b"TAG" + title[:30].ljust(30, b"\0") + artist[:30].ljust(30, b"\0") + bytes(64) + b"\xff"


@pytest.mark.parametrize(
    ("title", "artist", "encoding", "guess"),
    [
        ("Кукушка", "Кино", "cp1251", "Windows-1251"),
        ("Αγάπη", "Βίσση", "cp1253", "Windows-1253"),
        ("群青日和", "東京事変", "shift_jis", "CP932"),
        ("Группа крови (Live at Park)", "Kino", "cp1251", "Windows-1251"),
        ("Jóga", "Björk", "latin-1", None),
        ("Café", "x" * 29 + "é", "latin-1", None),
        ("ÆØÅ", "“Été” à Paris", "cp1252", None),
        ("Für Elise – живая", "музыка", "utf-8", None),
    ],
)
@pytest.mark.parametrize("place", ["v1", "v2", "info"])
def test_code_pages(tmp_path: Path, title: str, artist: str, encoding: str, guess: str | None, place: str) -> None:
    path = tmp_path / f"in.{'wav' if place == 'info' else 'mp3'}"
    write(path)
    raw = title.encode(encoding), artist.encode(encoding)
    if place == "v1":
        path.write_bytes(path.read_bytes() + id3v1(*raw))
    elif place == "v2":  # as many programs did, with the mark of Latin-1
        texts = [text.decode("latin-1") for text in raw]
        add_id3(path, id3.TIT2(encoding=0, text=texts[0]), id3.TPE1(encoding=0, text=texts[1]))
    else:
        padded = [text + bytes(2 - len(text) % 2) for text in raw]
        parts = b"".join(
            name + struct.pack("<I", len(text)) + text for name, text in zip((b"INAM", b"IART"), padded, strict=True)
        )
        chunk = b"LIST" + struct.pack("<I", 4 + len(parts)) + b"INFO" + parts
        data = path.read_bytes() + chunk
        path.write_bytes(data[:4] + struct.pack("<I", len(data) - 8) + data[8:])
    tags, remarks = read(path)
    assert (tags.fields["title"], tags.fields["artist"]) == ([title], [artist])
    assert remarks == ([] if guess is None else [f"its tags don't say in which code page they are: taken for {guess}"])


def test_a_letter_of_utf_8_that_id3v1_has_cut(tmp_path: Path) -> None:
    path = tmp_path / "in.mp3"
    write(path)
    title = "Группа крови на рукаве"
    path.write_bytes(path.read_bytes() + id3v1(title.encode(), "Кино".encode()))
    assert read(path) == (Tags({"title": ["Группа крови на "], "artist": ["Кино"]}), [])


def test_an_ape_tag_is_read_beside_others(tmp_path: Path) -> None:
    path = tmp_path / "in.mp3"
    write(path)
    tags = apev2.APEv2()
    tags.update({"Title": "A title of more than thirty letters", "Artist": ["Ann", "Bob"], "MP3GAIN_MINMAX": "89,179"})
    tags.save(path)
    fields = {"title": ["A title of more than thirty letters"], "artist": ["Ann", "Bob"]}
    path.write_bytes(path.read_bytes() + id3v1(b"A title of more than thirty le"))
    assert read(path) == (Tags(fields), [LEVEL])
    add_id3(path, id3.TIT2(encoding=3, text="Another"))
    assert read(path)[0].fields == fields | {"title": ["Another"]}


def test_a_file_object_is_read_and_keeps_its_place(tmp_path: Path) -> None:
    for suffix in ("mp3", "mka"):
        path = tmp_path / f"in.{suffix}"
        if suffix == "mp3":
            write(path, Tags(FIELDS, (inspect_picture(make_png(8, 8)),)))
        else:
            path.write_bytes(encode(MUSIC, "matroska", "flac", kind="s16", tags={"title": "x"}))
        file = io.BytesIO(path.read_bytes())
        with av.open(io.BytesIO(path.read_bytes()), "r") as container:
            file.seek(123)
            assert read_tags(file, container, container.streams.audio[0])[0] == read(path)[0]
        assert file.tell() == 123


def test_without_mutagen_audio_is_restored_all_the_same(tmp_path: Path) -> None:
    write(tmp_path / "in.mp3", Tags({"title": ["x"]}))
    script = """
import sys
sys.modules["mutagen"] = sys.modules["chardet"] = None
from unlossy.hub.audio_unlossy import AudioReader
from unlossy.hub.audio_writing_unlossy import AudioWriter
with AudioReader("in.mp3") as reader, AudioWriter("out.flac", 44100, 2, tags=reader.tags) as writer:
    writer.write(next(reader.blocks(100_000)))
print(*reader.warnings, *writer.warnings)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == "in.mp3: its tags are left out, which mutagen reads: pip install mutagen\n", done.stderr
    assert read(tmp_path / "out.flac") == (Tags(), [])


def test_the_command_line_says_what_is_left_out(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(restore, "count_workers", lambda files, processes_here: (1, 1))
    path, output = tmp_path / "in.mp3", tmp_path / "out.flac"
    picture = inspect_picture(make_png(8, 8), 4)
    write(path, Tags(FIELDS, (picture,), (Chapter(0, 0.5, "One"),)))
    gain = id3.TXXX(encoding=3, desc="REPLAYGAIN_TRACK_GAIN", text="-3 dB")
    add_id3(path, gain, id3.PRIV(owner="TRAKTOR4", data=b"1"))
    assert main(["restore", str(path), "-o", str(output), "--model", str(tiny_model)]) == 0
    warnings = f"unlossy: warning: {path}: {LEVEL}\n"
    warnings += f"unlossy: warning: {path}: data of other programs is left out: PRIV (TRAKTOR4)\n"
    assert capsys.readouterr().err == warnings
    tags, remarks = read(output)
    assert remarks == []
    assert (tags.fields, tags.pictures) == (FIELDS, (picture,))
    assert [chapter.title for chapter in tags.chapters] == ["One"]
