"""The open training corpus: MIDI played by FluidSynth, and short mixed clips cut from it and from recordings.

    # 30 s of every piece with random instruments, tempo and key -> FLAC files and their SOURCES.csv
    python -m unlossy_training.corpus render --midi midi/ --license CC-BY-4.0 --variations 2 --output renders/
    # 4 s clips, mixed and levelled like finished music -> FLAC files and the clips.csv that `dataset` reads
    python -m unlossy_training.corpus clips --source singing=vocals/ --source rendered=renders/ --output clips/

Every file depends on the inputs, the seed and its own number only, so that a run can be repeated, and continued with
a larger count.
"""

import argparse
import csv
import functools
import multiprocessing
import re
import shutil
import subprocess
import tempfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mido
import numpy as np
import soundfile

SAMPLING_RATE = 44_100  # [Hz]
CLIP_SECONDS = 4.0
DRUMS = 9  # General MIDI's percussion channel, counted from 0
DRUM_KITS = (0, 8, 16, 24, 25, 32, 40)
SOUNDFONTS = ("/usr/share/sounds/sf2/FluidR3_GM.sf2", "/usr/share/sounds/sf3/MuseScore_General_Full.sf3")
# The first is uncompressed; the other's samples went through Vorbis, hence the lower share.
SOUNDFONT_SHARES = (0.75, 0.25)
# Recordings are few and renders many: recordings are drawn more often than their minutes would suggest.
SOURCE_SHARES = {"real": 0.13, "singing": 0.13, "speech": 0.12, "solo": 0.07, "rendered": 0.40, "remix": 0.15}
VALIDATION_SHARE = 0.05
FOREGROUNDS = ("singing", "speech", "solo", "real")

Event = tuple[float, mido.Message]  # time [s] from the start


# --- Rendering -------------------------------------------------------------------------------------------------------


def groove(start: float, beat: float, seconds: float, rng: np.random.Generator) -> list[Event]:
    """A drum pattern (kick, snare, hi-hats or ride, a crash) from `start` [s] with `beat` [s] between beats."""
    cymbal = int(rng.choice([42, 51, 44]))
    steps = 2 if beat < 0.45 or rng.random() < 0.6 else 4
    events: list[Event] = []

    def hit(time: float, note: int, velocity: float) -> None:
        value = int(np.clip(velocity + rng.normal(0, 6), 1, 127))
        events.append((time, mido.Message("note_on", channel=DRUMS, note=note, velocity=value)))
        events.append((time + 0.1, mido.Message("note_off", channel=DRUMS, note=note)))

    for number in range(max(0, int((seconds - start) / beat))):
        time = start + number * beat
        hit(time, 38 if number % 2 else 36, 100)
        if number % 16 == 0:
            hit(time, 49, 95)
        for step in range(steps):
            opened = step == steps - 1 and rng.random() < 0.15
            hit(time + step * beat / steps, 46 if opened else cymbal, 90 if step == 0 else 65)
    return events


def vary(piece: mido.MidiFile, seconds: float, rng: np.random.Generator) -> mido.MidiFile:
    """A random excerpt of `seconds` [s] of a piece in another tempo, key and scoring.

    Raises:
        ValueError: the piece has no notes.
    """
    stretch = 1 / rng.uniform(0.8, 1.25)
    transposition = int(rng.integers(-5, 6))
    loudness = rng.uniform(0.75, 1.2)
    events: list[Event] = []
    tempo, now = 500_000, 0.0  # [µs a beat], [s]
    for message in piece:
        now += message.time * stretch
        if message.type == "set_tempo":
            tempo = message.tempo
        elif not message.is_meta and message.type != "sysex":
            events.append((now, message))
    onsets = [time for time, message in events if message.type == "note_on" and message.velocity]
    if not onsets:
        raise ValueError("the piece has no notes")
    start = rng.uniform(onsets[0], max(onsets[0], onsets[-1] - seconds))

    # Everything that describes how a channel sounds is drawn anew; only the notes, bends and pedals are kept.
    scored: list[Event] = []
    for channel in range(16):
        programs = [m.program for _, m in events if m.type == "program_change" and m.channel == channel]
        program = programs[0] if programs else 0
        if channel == DRUMS:
            program = int(rng.choice(DRUM_KITS))
        else:
            choice = rng.random()
            if choice < 0.35:
                program = program // 8 * 8 + int(rng.integers(8))  # General MIDI's families have eight members
            elif choice < 0.5:
                program = int(rng.integers(112))  # leaves percussion and sound effects out
        controls = {7: rng.integers(70, 128), 10: np.clip(rng.normal(64, 26), 0, 127)}
        scored.append((0.0, mido.Message("program_change", channel=channel, program=program)))
        for control, value in controls.items():
            scored.append((0.0, mido.Message("control_change", channel=channel, control=control, value=int(value))))
    kept_controls = {1, 11, 64}
    has_drums = False
    for time, message in events:
        time -= start
        if time >= seconds or message.type == "program_change":
            continue
        if message.type in ("note_on", "note_off"):
            if time < 0:
                continue
            note, velocity = message.note, message.velocity
            if message.channel != DRUMS:
                note = int(np.clip(note + transposition, 0, 127))
            if message.type == "note_on" and velocity:
                velocity = int(np.clip(velocity * loudness, 1, 127))
                has_drums |= message.channel == DRUMS
            message = message.copy(note=note, velocity=velocity)
        elif message.type == "control_change" and message.control not in kept_controls:
            continue
        scored.append((max(time, 0.0), message))
    if not has_drums and rng.random() < 0.4:
        beat = tempo * 1e-6 * stretch
        first = min((t for t, m in scored if m.type == "note_on"), default=0.0)
        scored += groove(first, beat if 0.25 < beat < 1.2 else 0.5, seconds, rng)
    # FluidSynth renders until the last note has died away: a note without an end would fill the disk.
    for channel in range(16):
        for control in (64, 123):  # pedal, all notes off
            message = mido.Message("control_change", channel=channel, control=control, value=0)
            scored.append((seconds + 0.2, message))
    return midi_file(scored)


def midi_file(events: Iterable[Event]) -> mido.MidiFile:
    """A MIDI file of events at absolute times [s]."""
    file = mido.MidiFile(ticks_per_beat=480)
    track = mido.MidiTrack()
    file.tracks.append(track)
    now = 0
    for time, message in sorted(events, key=lambda event: event[0]):
        tick = round(time * 960)  # 480 ticks a beat at the default 120 beats a minute
        track.append(message.copy(time=tick - now))
        now = tick
    return file


def find_soundfonts() -> list[Path]:
    """The General MIDI soundfonts of Debian's packages that are installed, the preferred one first.

    Raises:
        ValueError: FluidSynth or every soundfont is missing.
    """
    found = [Path(path) for path in SOUNDFONTS if Path(path).exists()]
    if shutil.which("fluidsynth") is None or not found:
        missing = "a General MIDI soundfont" if shutil.which("fluidsynth") else "FluidSynth"
        raise ValueError(
            f"{missing} is missing; install Debian's packages fluidsynth, fluid-soundfont-gm and "
            "musescore-general-soundfont."
        )
    return found


def synthesize(
    piece: mido.MidiFile, soundfont: Path, seconds: float, *, reverb: bool = True, chorus: bool = True
) -> np.ndarray:
    """Play a MIDI file with FluidSynth.

    Returns:
        `np.ndarray` of shape `(2, samples)`, float32 at 44.1 kHz, unscaled, at most `seconds` [s] long.

    Raises:
        ValueError: FluidSynth fails or writes nothing.
    """
    with tempfile.TemporaryDirectory() as folder:
        midi, wave = Path(folder, "piece.mid"), Path(folder, "piece.wav")
        piece.save(midi)
        command = ["fluidsynth", "-niq", "-r", str(SAMPLING_RATE), "-g", "0.3", "-R", str(int(reverb))]
        command += ["-C", str(int(chorus)), "-o", "synth.dynamic-sample-loading=1", "-T", "wav", "-O", "float"]
        done = subprocess.run(
            [*command, "-F", str(wave), str(soundfont), str(midi)], capture_output=True, text=True, timeout=120
        )
        if not wave.exists():
            raise ValueError(f"FluidSynth wrote nothing with {soundfont.name}: {done.stderr.strip()[-300:]}")
        audio, _ = soundfile.read(wave, frames=int(seconds * SAMPLING_RATE), dtype="float32", always_2d=True)
    return np.ascontiguousarray(audio.T)


def write_flac(path: Path, audio: np.ndarray) -> None:
    """Write `(channels, samples)` as 16-bit FLAC, 44.1 kHz."""
    soundfile.write(path, audio.T, SAMPLING_RATE, format="FLAC", subtype="PCM_16")


def render_piece(job: tuple[Path, int], output: Path, seconds: float, seed: int) -> Path | None:
    """Render one variation of one MIDI file; None where the file can't be read or the result is silent."""
    path, variation = job
    target = output / f"{path.stem}_{variation}.flac"
    if target.exists():
        return target
    rng = np.random.default_rng([seed, zlib.crc32(path.stem.encode()), variation])
    soundfonts = find_soundfonts()
    shares = np.array(SOUNDFONT_SHARES[: len(soundfonts)])
    soundfont = soundfonts[int(rng.choice(len(soundfonts), p=shares / shares.sum()))]
    try:
        piece = vary(mido.MidiFile(path, clip=True), seconds, rng)
        audio = synthesize(piece, soundfont, seconds, reverb=bool(rng.random() < 0.6), chorus=bool(rng.random() < 0.4))
    except (ValueError, EOFError, OSError, KeyError, subprocess.TimeoutExpired) as error:  # mido's for damaged files
        print(f"{path.name}: left out, {error}")
        return None
    peak = float(np.abs(audio).max(initial=0.0))
    if peak < 1e-3:
        return None
    unfinished = target.with_suffix(".part")
    write_flac(unfinished, audio * (10 ** (-1 / 20) / peak))
    return unfinished.replace(target)


def render(
    midi: Path, output: Path, *, license: str, attribution: str = "", variations: int = 1, seconds: float = 30.0,
    seed: int = 0, workers: int = 2,
) -> int:  # fmt: skip
    """Render every MIDI file of a folder `variations` times; returns the number of files in `output`.

    Raises:
        ValueError: no MIDI files, or FluidSynth is missing.
    """
    pieces = sorted(path for path in midi.rglob("*") if path.suffix.lower() in (".mid", ".midi"))
    if not pieces:
        raise ValueError(f"There are no MIDI files in {midi}.")
    names = Counter(piece.stem for piece in pieces)
    name, count = names.most_common(1)[0]
    if count > 1:
        raise ValueError(f"{midi} has {count} MIDI files named {name}; renders are told apart by their names.")
    find_soundfonts()
    output.mkdir(parents=True, exist_ok=True)
    jobs = [(piece, variation) for variation in range(variations) for piece in pieces]
    work = functools.partial(render_piece, output=output, seconds=seconds, seed=seed)
    rendered = [path for path in parallel(work, jobs, workers) if path is not None]
    described = {path.name: (license, attribution) for path in rendered}
    if (output / "SOURCES.csv").exists():  # from other pieces, rendered into the same folder before
        earlier = read_sources(output).items()
        described = {path.name: (row["license"], row.get("attribution") or "") for path, row in earlier} | described
    with (output / "SOURCES.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "license", "attribution"])
        writer.writerows((name, *row) for name, row in sorted(described.items()))
    return len(rendered)


# --- Clips -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Recording:
    """One audio file to cut clips from."""

    path: Path
    source: str
    title: str
    license: str
    group: str  # files of one group never stand on both sides of the split
    genre: str = ""
    attribution: str = ""


def group_of(title: str) -> str:
    """The composition or recording that a file belongs to: parts and variations of one thing share a group."""
    name = re.sub(r"^(th|fd)_", "", title.lower())
    if name.startswith("vctk"):
        return "vctk"  # the file names don't tell the speakers apart
    name = re.sub(r"[ _(]+[a-z]+[ _]remix.*", "", name)  # "Faith (love remix)" is the composition "Faith"
    return re.sub(r"[^a-z0-9]+", "", re.sub(r"(_?\d+|_[a-e])$", "", name))


def find_recordings(sources: Iterable[tuple[str, Path]]) -> list[Recording]:
    """The audio files of `(source, folder)` pairs, described by the nearest SOURCES.csv.

    Raises:
        ValueError: a folder without audio files, or an unknown source.
    """
    recordings = []
    for source, folder in sources:
        if source not in SOURCE_SHARES or source == "remix":
            known = ", ".join(name for name in SOURCE_SHARES if name != "remix")
            raise ValueError(f"Unknown source {source!r}; choose one of {known}.")
        paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".flac", ".wav"))
        if not paths:
            raise ValueError(f"There are no FLAC or WAV files in {folder}.")
        described: dict[Path, dict[str, str]] = {}
        for parent in {path.parent for path in paths}:
            described |= read_sources(parent)
        for path in paths:
            row = described.get(path.resolve(), {})
            license, genre, attribution = row.get("license") or "unknown", row.get("genre"), row.get("attribution")
            group = group_of(path.stem)
            recordings.append(Recording(path, source, path.stem, license, group, genre or "", attribution or ""))
    return recordings


def read_sources(folder: Path) -> dict[Path, dict[str, str]]:
    """Rows (`license` and, where given, `genre` and `attribution`) by file of the nearest SOURCES.csv, here or above.

    Raises:
        ValueError: it lacks a column.
    """
    folder = folder.resolve()
    for parent in (folder, *folder.parents):
        table = parent / "SOURCES.csv"
        if table.exists():
            with table.open(newline="") as file:
                rows = csv.DictReader(file)
                missing = {"file", "license"} - set(rows.fieldnames or ())
                if missing:
                    raise ValueError(f"{table} has no column {' and no column '.join(sorted(missing))}.")
                return {parent / row["file"]: row for row in rows}
    return {}


def validation_groups(recordings: Sequence[Recording], seed: int) -> set[str]:
    """Groups to hold back for validation: per source at least one, and about a twentieth of its files."""
    rng = np.random.default_rng([seed, 1])
    held: set[str] = set()
    for source in sorted({recording.source for recording in recordings}):
        counts: dict[str, int] = {}
        for recording in recordings:
            if recording.source == source:
                counts[recording.group] = counts.get(recording.group, 0) + 1
        if len(counts) < 2:
            continue  # a single group is needed for training
        wanted = max(1.0, VALIDATION_SHARE * sum(counts.values()))
        taken = sum(count for group, count in counts.items() if group in held)
        # A group with a large part of a source's files would leave too little to train on.
        fitting = [group for group in sorted(counts) if counts[group] <= 0.2 * sum(counts.values())]
        for group in rng.permutation(fitting or [min(counts, key=lambda name: counts[name])]):
            if taken >= wanted:
                break
            held.add(str(group))
            taken += counts[group]
    return held


def cut(path: Path, frames: int, rng: np.random.Generator) -> np.ndarray:
    """A random cut of shape `(2, frames)`, dual mono for a mono file, padded with silence where the file is shorter."""
    with soundfile.SoundFile(path) as file:
        if file.samplerate != SAMPLING_RATE or file.channels > 2:
            raise ValueError(f"{path} has {file.samplerate} Hz and {file.channels} channels; 44100 Hz and 1-2 needed.")
        file.seek(int(rng.integers(max(1, file.frames - frames + 1))))
        audio = file.read(frames, dtype="float32", always_2d=True).T
    audio = np.repeat(audio, 2, axis=0) if len(audio) == 1 else audio
    return np.pad(audio, ((0, 0), (0, frames - audio.shape[1])))


def is_silent(audio: np.ndarray) -> bool:
    """Whether less than half of the 0.1 s frames is within 45 dB of the loudest, or all is near nothing."""
    frames = audio[:, : audio.shape[1] // 4410 * 4410].reshape(-1, audio.shape[1] // 4410, 4410)
    levels = np.sqrt(np.mean(frames**2, axis=(0, 2)))
    return bool(levels.max() < 10 ** (-55 / 20) or np.mean(levels > levels.max() * 10 ** (-45 / 20)) < 0.5)


def equalize(audio: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A gentle random tilt (±1 dB an octave) and one broad bell (±4 dB), zero-phase."""
    frequencies = np.maximum(np.fft.rfftfreq(audio.shape[1], 1 / SAMPLING_RATE), 30.0)
    octaves = np.log2(frequencies / 1000)
    bell = np.exp(-0.5 * ((octaves - rng.uniform(-3, 3.5)) / rng.uniform(0.5, 1.5)) ** 2)
    gain = 10 ** ((rng.uniform(-1, 1) * octaves + rng.uniform(-4, 4) * bell) / 20)
    return np.fft.irfft(np.fft.rfft(audio) * gain, n=audio.shape[1]).astype(np.float32)


def limit(audio: np.ndarray, threshold: float) -> np.ndarray:
    """Peak limiter with look-ahead as in mastering: a smooth gain (about 15 ms) that keeps peaks at `threshold`."""
    block = 32
    padded = np.pad(np.abs(audio).max(axis=0), (0, -audio.shape[1] % block))
    gains = np.minimum(1.0, threshold / np.maximum(padded.reshape(-1, block).max(axis=1), 1e-9))
    reach = 10  # [blocks] a side; the minimum over the window, then the average over it, never exceeds the threshold
    lowest = np.lib.stride_tricks.sliding_window_view(np.pad(gains, 2 * reach, mode="edge"), 2 * reach + 1).min(axis=1)
    window = np.hanning(2 * reach + 3)[1:-1]
    smooth = np.convolve(lowest, window / window.sum(), mode="valid")
    positions = (np.arange(len(gains)) + 0.5) * block
    return (audio * np.interp(np.arange(audio.shape[1]), positions, smooth)).astype(np.float32)


def pan(audio: np.ndarray, position: float) -> np.ndarray:
    """Balance of a stereo signal, -1 (left) to 1 (right)."""
    gains = np.array([[min(1.0, 1 - position)], [min(1.0, 1 + position)]], dtype=np.float32)
    return audio * gains


def finish(audio: np.ndarray, source: str, rng: np.random.Generator) -> np.ndarray:
    """Width, tone, balance, limiting and level of a finished clip; peaks between -20 and -0.3 dBFS."""
    if rng.random() < 0.5:
        audio = equalize(audio, rng)
    if rng.random() < 0.1:
        audio = np.repeat(audio.mean(axis=0, keepdims=True), 2, axis=0)
    elif rng.random() < 0.5:
        mid, side = (audio[0] + audio[1]) / 2, (audio[0] - audio[1]) / 2 * rng.uniform(0.4, 1.4)
        audio = np.stack([mid + side, mid - side])
    if rng.random() < 0.3:
        audio = pan(audio, rng.uniform(-0.4, 0.4))
    peak = max(float(np.abs(audio).max()), 1e-9)
    audio = audio / peak
    if rng.random() < (0.7 if source == "remix" else 0.3):
        audio = limit(audio, 10 ** (-rng.uniform(2, 8) / 20))
        audio = audio / np.abs(audio).max()
    level = rng.uniform(-3, -0.3) if rng.random() < 0.8 else rng.uniform(-20, -3)
    return (audio * 10 ** (level / 20)).astype(np.float32)


def normalize(audio: np.ndarray, level: float) -> np.ndarray:
    """Scale to an RMS level [dBFS]."""
    return audio * np.float32(10 ** (level / 20) / max(float(np.sqrt(np.mean(audio**2))), 1e-6))


def make_clip(number: int, recordings: Sequence[Recording], held: set[str], output: Path, seed: int) -> list[str]:
    """Make clip `number`; returns its row of clips.csv, whose length is zero if only silence was found."""
    rng = np.random.default_rng([seed, 2, number])
    frames = int(CLIP_SECONDS * SAMPLING_RATE)
    split = "validation" if held and rng.random() < VALIDATION_SHARE else "train"
    usable = [recording for recording in recordings if (recording.group in held) == (split == "validation")]
    by_source = {s: [r for r in usable if r.source == s] for s in SOURCE_SHARES}
    foregrounds = [s for s in FOREGROUNDS if by_source[s]]
    possible = [s for s, files in by_source.items() if files]
    if foregrounds and by_source["rendered"]:
        possible.append("remix")
    shares = np.array([SOURCE_SHARES[s] for s in possible])
    source = str(rng.choice(possible, p=shares / shares.sum()))

    def draw(source: str) -> tuple[Recording, np.ndarray]:
        recording = by_source[source][int(rng.integers(len(by_source[source])))]
        return recording, cut(recording.path, frames, rng)

    for _ in range(10):
        if source == "remix":
            voice_source = str(rng.choice(foregrounds))
            (voice_from, voice), (backing_from, backing) = draw(voice_source), draw("rendered")
            if is_silent(voice) or is_silent(backing):
                continue
            voice = pan(equalize(normalize(voice, rng.uniform(-22, -14)), rng), rng.uniform(-0.3, 0.3))
            audio = voice + equalize(normalize(backing, -18), rng)
            parts = [voice_from, backing_from]
        else:
            recording, audio = draw(source)
            if is_silent(audio):
                continue
            parts = [recording]
        name = f"{number:06d}.flac"
        write_flac(output / name, finish(audio, source, rng))
        title = " + ".join(part.title for part in parts)
        license, genre, attribution = (
            " + ".join(dict.fromkeys(value for value in values if value))
            for values in zip(*((part.license, part.genre, part.attribution) for part in parts), strict=True)
        )
        return [name, source, title, license, split, genre, attribution]
    return []


def make_clips(
    sources: Iterable[tuple[str, Path]], output: Path, *, count: int, seed: int = 0, workers: int = 2
) -> int:
    """Write `count` clips of 4 s and their clips.csv; returns how many were made (silent ones are dropped).

    Raises:
        ValueError: see `find_recordings`.
    """
    recordings = find_recordings(sources)
    held = validation_groups(recordings, seed)
    output.mkdir(parents=True, exist_ok=True)
    work = functools.partial(make_clip, recordings=recordings, held=held, output=output, seed=seed)
    rows = [row for row in parallel(work, range(count), workers) if row]
    with (output / "clips.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "source", "title", "license", "split", "genre", "attribution"])
        writer.writerows(sorted(rows))
    return len(rows)


def parallel(work: Callable[[Any], Any], jobs: Sequence[Any], workers: int) -> list[Any]:
    """`work` for every job, in order, on `workers` processes."""
    if workers <= 1:
        return [work(job) for job in jobs]
    with multiprocessing.Pool(workers) as pool:
        return pool.map(work, jobs, chunksize=1)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="unlossy_training.corpus", description="Build the open training corpus.")
    commands = parser.add_subparsers(dest="command", required=True)
    renders = commands.add_parser("render", help="play MIDI files with FluidSynth")
    renders.add_argument("--midi", type=Path, required=True, help="folder of MIDI files")
    renders.add_argument("--license", required=True, help="licence of the pieces, for SOURCES.csv")
    renders.add_argument("--attribution", default="", help="whom the licence asks to name, for SOURCES.csv")
    renders.add_argument("--variations", type=int, default=1, help="excerpts of every piece (default 1)")
    renders.add_argument("--seconds", type=float, default=30.0, help="length of an excerpt (default 30)")
    clips = commands.add_parser("clips", help="cut and mix clips of 4 s")
    clips.add_argument("--source", action="append", required=True, metavar="SOURCE=FOLDER", help="may be repeated")
    clips.add_argument("--count", type=int, default=1000, help="number of clips (default 1000)")
    for command in (renders, clips):
        command.add_argument("--output", type=Path, required=True, help="folder to write to")
        command.add_argument("--seed", type=int, default=0)
        command.add_argument("--workers", type=int, default=2, help="processes (default 2)")
    options = parser.parse_args()
    try:
        if options.command == "render":
            made = render(
                options.midi, options.output, license=options.license, attribution=options.attribution,
                variations=options.variations, seconds=options.seconds, seed=options.seed, workers=options.workers,
            )  # fmt: skip
        else:
            pairs = [source.partition("=") for source in options.source]
            sources = [(name, Path(folder)) for name, _, folder in pairs]
            made = make_clips(sources, options.output, count=options.count, seed=options.seed, workers=options.workers)
    except ValueError as error:
        parser.exit(1, f"{error}\n")
    print(f"{options.output}: {made} files")


if __name__ == "__main__":
    main()
