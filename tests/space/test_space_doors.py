"""The demo's doors, tried with plain HTTP: nobody gets what is not theirs, and nothing that is sent breaks it."""

import contextlib
import hashlib
import http.client
import io
import json
import os
import random
import signal
import socket
import threading
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import numpy as np
import pytest
import soundfile
from conftest import start_demo

pytest.importorskip("gradio")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

RATE = 44_100
FILE = "/gradio_api/file="
BOUNDARY = "-unlossy-"


def song(seed: int = 0, seconds: float = 1) -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(seed).uniform(-0.2, 0.2, (round(seconds * RATE), 2))
    soundfile.write(buffer, noise, RATE, format="WAV")
    return buffer.getvalue()


class Answer:
    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status, self.headers, self.body = response.status, response.headers, response.read()

    def json(self) -> Any:
        return json.loads(self.body)


class Visitor:
    """A program with a session of its own, that knows of others what the demo tells everybody."""

    def __init__(self, url: str) -> None:
        self.host = urlsplit(url).netloc
        self.session = f"{random.getrandbits(64):x}"
        config = self.ask("GET", "/config").json()
        self.functions = {each["api_name"]: each["id"] for each in config["dependencies"]}
        self.private = [each["id"] for each in config["dependencies"] if each["api_visibility"] == "private"]

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        connection = http.client.HTTPConnection(self.host, timeout=120)
        try:
            connection.request(method, path, body, headers)
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def post(self, path: str, content: Any) -> Answer:
        return self.ask("POST", path, json.dumps(content).encode(), **{"Content-Type": "application/json"})

    def upload(self, content: bytes, name: str = "song.wav") -> Answer:
        kind = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        return self.ask("POST", "/gradio_api/upload", multipart(content, name), **kind)

    def start(self, file: Any, name: str = "restore", *rest: Any) -> Answer:
        data = [{"path": file, "meta": {"_type": "gradio.FileData"}} if isinstance(file, str) else file, *rest]
        content = {"data": data, "fn_index": self.functions[name], "session_hash": self.session}
        return self.post("/gradio_api/queue/join", content)

    def messages(self) -> Iterator[dict[str, Any]]:
        """What the queue tells, to the end."""
        for line in self.ask("GET", f"/gradio_api/queue/data?session_hash={self.session}").body.splitlines():
            if line.startswith(b"data: "):
                yield json.loads(line[6:])

    def restore(self, file: Any, format: str = "flac") -> dict[str, Any]:
        """The output, or the error, of a restoration."""
        assert self.start(file, "restore", 1.0, format).status == 200
        return next(each["output"] for each in self.messages() if each["msg"] == "process_completed")


def multipart(content: bytes, name: str) -> bytes:
    quoted = name.replace("\\", "\\\\").replace('"', '\\"').encode("utf-8", "surrogateescape")
    head = b'--%s\r\nContent-Disposition: form-data; name="files"; filename="%s"\r\n\r\n'
    return head % (BOUNDARY.encode(), quoted) + content + f"\r\n--{BOUNDARY}--\r\n".encode()


@pytest.fixture
def visit(space: Any) -> Callable[[], Visitor]:
    return lambda: Visitor(space.url)


def test_files_of_others_are_not_given_away(visit: Callable[[], Visitor], space: Any) -> None:
    victim, thief = visit(), visit()
    theirs = victim.upload(song(1)).json()[0]
    result = victim.restore(theirs)["data"][0]["path"]
    assert thief.ask("GET", FILE + quote(result)).status == 200  # whoever has the address: a token nobody can guess
    root = Path(thief.upload(song(2)).json()[0]).parents[1]  # what the demo tells everybody
    assert Path(result).is_relative_to(root)
    parts = Path(result).relative_to(root).parts
    guesses = [
        root,
        root / parts[0],
        root / parts[0] / parts[1],
        root.parent / "running",
        root / hashlib.sha256(f"{root}{thief.session}".encode()).hexdigest() / parts[1] / parts[2],
        root / hashlib.sha256(victim.session.encode()).hexdigest() / parts[1] / parts[2],
        root / parts[0] / ("0" * 16) / parts[2],
        Path("/etc/passwd"),
        Path("/proc/self/environ"),
        Path(__file__),
    ]
    spellings: list[Callable[[Path], str]] = [
        lambda path: quote(str(path)),
        lambda path: quote(str(path), safe=""),
        lambda path: quote(quote(str(path), safe=""), safe=""),
        lambda path: quote(f"{root}/../../../../../../../..{path}"),
        lambda path: f"{root}/..%2f..%2f..%2f..%2f..%2f..%2f..%2f..{quote(str(path))}",
        lambda path: quote(f"file://{path}"),
        lambda path: quote(str(path)) + "%00.flac",
        lambda path: quote(str(path).replace("/", "\\")),
        lambda path: quote("/" + str(path)),
        lambda path: quote(f"{root}/./{'x' * 64}/../../../../../../..{path}"),
    ]
    for path in guesses:
        for spell in spellings:
            answer = thief.ask("GET", FILE + spell(path))
            assert answer.status in (400, 403, 404), (spell(path), answer.status)
            assert thief.ask("GET", "/gradio_api/file/" + spell(path)).status in (400, 403, 404)
    for address in (space.url, "http://127.0.0.1:1/song.wav", "http://localhost/", "ftp://127.0.0.1/"):
        assert thief.ask("GET", FILE + address).status >= 400
        assert thief.ask("GET", "/gradio_api/proxy=" + address).status >= 400


def test_nothing_on_the_server_is_restored_but_uploads(
    visit: Callable[[], Visitor], tmp_path: Path, space: Any
) -> None:
    visitor = visit()
    mine = tmp_path / "private.wav"
    mine.write_bytes(song(3))
    root = Path(visitor.upload(song(4)).json()[0]).parents[1]
    url = space.url + "gradio_api/file=" + str(root)
    traversing = f"{root}/../../../../../../../..{mine}"
    for file in (
        str(mine),
        "/etc/passwd",
        traversing,
        f"file://{mine}",
        {"path": str(mine), "url": None, "meta": {"_type": "gradio.FileData"}},
        {"path": "song.wav", "url": url, "meta": {"_type": "gradio.FileData"}},
        {"path": url, "meta": {"_type": "gradio.FileData"}},
    ):
        assert "error" in visitor.restore(file), file
    (root / "link.wav").symlink_to(mine)  # which nothing that is sent makes
    try:
        for data in (
            [],
            [None],
            [str(mine)],
            [[str(mine)] * 4],
            [{"path": str(mine)}, "flac"],
            [[str(mine)] * 4, "wav"],
        ):
            for number in visitor.private:
                content = {"data": data, "fn_index": number, "session_hash": visitor.session}
                answer = visitor.post("/gradio_api/run/predict", content)
                assert b"private" not in answer.body.replace(str(mine).encode(), b"")
                assert b"data:audio" not in answer.body
    finally:
        (root / "link.wav").unlink()
    assert not list(root.rglob("private*"))


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("song.mp3", b"<html><script>alert(1)</script></html>" * 50, "song.mp3 is not an audio file"),
        ("page.html", b"<html><script>alert(1)</script></html>" * 50, "page.html is not an audio file"),
        ("zip.mp3", None, "zip.mp3 has no samples that can be decoded"),
        ("empty.mp3", b"", "empty.mp3 is empty"),
        ("nought.wav", bytes(100_000), "nought.wav is not an audio file"),
        ("list.m3u8", b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n/etc/passwd\n", "list.m3u8 is "),
    ],
)
def test_what_is_no_audio_gets_its_sentence_and_is_never_a_page(
    visit: Callable[[], Visitor], name: str, content: bytes | None, sentence: str
) -> None:
    if content is None:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("song.mp3", song())
        content = packed.getvalue()
    visitor = visit()
    path = visitor.upload(content, name).json()[0]
    output = visitor.restore(path)
    assert output["error"].startswith(sentence)
    assert "/" not in output["error"]
    answer = visitor.ask("GET", FILE + quote(path))
    assert answer.headers["Content-Type"].split(";")[0] in ("audio/mpeg", "audio/wav", "application/octet-stream")
    assert "html" not in answer.headers["Content-Type"]


@pytest.mark.parametrize(
    "name",
    [
        "line\nbreak\r\tand\x07bell.wav",
        "‮vaw.gnos.wav",
        "x" * 1000 + ".wav",
        "x" * 100_000 + ".wav",
        "🎵" * 200 + ".wav",
        "../../../../tmp/elsewhere.wav",
        "/etc/cron.d/song.wav",
        "..\\..\\song.wav",
        "C:\\song.wav",
        "CON.wav",
        ".wav",
        "-rf.wav",
        "<img src=x onerror=alert(1)>.wav",
        "%2e%2e%2fsong.wav",
        "caf\udce9.wav",
        "[a](b) *c* _d_ `e` $f$.wav",
    ],
)
def test_odd_names_are_taken_and_lead_nowhere(visit: Callable[[], Visitor], space: Any, name: str) -> None:
    visitor = visit()
    answer = visitor.upload(song(5), name)
    if answer.status != 200:  # refused with a reason is fine, too
        assert answer.status in (400, 413, 422), answer.body
        return
    path = Path(answer.json()[0])
    assert path.is_relative_to(files_of(space))
    result = visitor.restore(str(path))["data"][0]
    given = Path(result["path"])
    assert given.name == f"{path.stem}.restored.flac"
    assert given.parent.parent.parent == path.parent.parent
    assert not any(ord(character) < 32 or character in '/\\:<>"|?*' for character in given.name)
    audio = soundfile.info(io.BytesIO(visitor.ask("GET", FILE + quote(str(given))).body))
    assert audio.frames == RATE


def lie(host: str, declared: str, sent: bytes) -> bytes:
    """Upload with a length that is not that of what is sent, and hang up; returns the beginning of the answer."""
    with socket.create_connection(tuple_of(host), timeout=20) as connection:
        head = f"POST /gradio_api/upload HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{declared}\r\n"
        kind = f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n"
        connection.sendall(head.encode() + kind.encode() + sent)
        connection.shutdown(socket.SHUT_WR)
        try:
            return connection.recv(1000)
        except (TimeoutError, ConnectionResetError):
            return b""


def tuple_of(host: str) -> tuple[str, int]:
    name, port = host.split(":")
    return name, int(port)


def files_of(space: Any) -> Path:
    return next(space.folder.glob("unlossy-demo-*")) / "files"


def leftovers(space: Any) -> list[Path]:
    """Files of uploads that are not complete."""
    return [path for path in files_of(space).iterdir() if path.is_file()]


def make_old(paths: Iterable[Path]) -> None:
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            os.utime(path, (time.time() - 7200,) * 2)


def wait_until(condition: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.2)


def test_lengths_that_lie_leave_nothing_and_break_nothing(visit: Callable[[], Visitor], space: Any) -> None:
    visitor = visit()
    body = multipart(song(6), "song.wav")
    before = set(space.folder.rglob("*"))
    assert b" 200 " not in lie(visitor.host, f"Content-Length: {len(body) + 1_000_000}", body)
    lie(visitor.host, "Content-Length: 1000", body)
    lie(visitor.host, "Content-Length: -5", body)
    lie(visitor.host, "Content-Length: many", body)
    lie(visitor.host, "Transfer-Encoding: chunked", b"ffffffff\r\n" + body)
    for name in ("/gradio_api/process_recording", "/gradio_api/component_server"):
        kind = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        visitor.ask("POST", name, body, **kind)
    assert visitor.upload(song(6)).status == 200
    time.sleep(1)
    make_old(leftovers(space))
    wait_until(lambda: not leftovers(space), 60)  # the sweeper has come by
    new = {path for path in set(space.folder.rglob("*")) - before if path.is_file()}
    assert {path.name for path in new} == {"song.wav"}


def test_what_is_too_large_is_refused_on_its_way(visit: Callable[[], Visitor], space: Any) -> None:
    visitor = visit()
    zeros = bytes(1_000_000)
    connection = http.client.HTTPConnection(visitor.host, timeout=60)
    head = multipart(b"", "song.wav").split(f"\r\n--{BOUNDARY}--".encode())[0]
    connection.putrequest("POST", "/gradio_api/upload")
    connection.putheader("Content-Type", f"multipart/form-data; boundary={BOUNDARY}")
    connection.putheader("Content-Length", str(400 * len(zeros) + len(head)))
    connection.endheaders(head)
    try:
        for _ in range(400):  # of which the server may take the rest, but not keep it
            connection.send(zeros)
    except (BrokenPipeError, ConnectionResetError):
        pass
    else:
        assert connection.getresponse().status == 413
    connection.close()
    assert not [path for path in leftovers(space) if path.stat().st_size > 1_000_000]
    assert visitor.upload(song(7)).status == 200


def resident(space: Any) -> float:
    """Memory of the demo [MB]."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"TMPDIR={space.folder}".encode() in (folder / "environ").read_bytes():
                lines = (folder / "status").read_text().splitlines()
                return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))
        except (OSError, StopIteration):
            continue
    pytest.skip("no /proc")


def come_and_go(visitor: Visitor, number: int) -> None:
    """One of the ways in which a client behaves badly."""
    random_ = random.Random(number)
    body = multipart(song(number, seconds=2), "song.wav")
    way = number % 5
    with socket.create_connection(tuple_of(visitor.host), timeout=60) as connection:

        def say(method: str, path: str, body: bytes, kind: str, length: int) -> None:
            head = f"{method} {path} HTTP/1.1\r\nHost: {visitor.host}\r\nContent-Type: {kind}\r\n"
            connection.sendall(f"{head}Content-Length: {length}\r\n\r\n".encode() + body)

        if way == 0:  # hangs up while it uploads
            part = body[: random_.randrange(1000, len(body))]
            say("POST", "/gradio_api/upload", part, f"multipart/form-data; boundary={BOUNDARY}", len(body))
            return
        if way == 1:  # looks at the page, and doesn't wait for it
            say("GET", "/", b"", "text/plain", 0)
            return
        # The page keeps this open as long as it is.
        say("GET", f"/gradio_api/heartbeat/{visitor.session}", b"", "text/plain", 0)
        path = visitor.upload(song(number, seconds=2)).json()[0]
        visitor.start(path, "restore", 1.0, "flac")
        if way == 2:  # leaves while it waits, or while it is worked for
            time.sleep(random_.uniform(0, 3))
            return
        with socket.create_connection(tuple_of(visitor.host), timeout=60) as listening:
            listening.sendall(
                f"GET /gradio_api/queue/data?session_hash={visitor.session} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
            )
            if way == 3:  # stops listening
                listening.recv(1000)
                return
            end = time.monotonic() + random_.uniform(1, 20)
            while time.monotonic() < end and b"process_completed" not in listening.recv(100_000):
                pass


def test_a_hundred_at_once_that_come_and_go(visit: Callable[[], Visitor], space: Any) -> None:
    first = visit()
    with ThreadPoolExecutor(4) as pool:  # what is loaded for good, and both threads' memory
        warm = [
            pool.submit(each.restore, each.upload(song(number, seconds=2)).json()[0])
            for number, each in enumerate([first, visit(), visit(), visit()])
        ]
    assert all("data" in each.result() for each in warm)
    time.sleep(15)
    before = resident(space)
    kept = set(files_of(space).iterdir())

    waits: list[float] = []
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            start = time.monotonic()
            assert first.ask("GET", "/").status == 200
            waits.append(time.monotonic() - start)
            time.sleep(0.2)

    with ThreadPoolExecutor(101) as pool:
        looking = pool.submit(look)
        visitors = [visit() for _ in range(100)]
        list(pool.map(come_and_go, visitors, range(100)))
        done.set()
        looking.result()
    assert max(waits) < 20, f"the page took {max(waits):.1f} s"

    # Those who never said that they leave have an hour, which ends now.
    def is_empty() -> bool:
        new = set(files_of(space).iterdir()) - kept
        make_old(new)
        return not new

    wait_until(is_empty, 240)
    assert "data" in first.restore(first.upload(song(200)).json()[0])
    time.sleep(15)
    assert resident(space) < before + 150, f"{before:.0f} MB before, {resident(space):.0f} MB after"


@pytest.mark.parametrize("seed", range(3))
def test_nothing_half_written_of_a_killed_demo_is_taken_for_whole(tmp_path: Path, seed: int) -> None:
    process, space = start_demo(tmp_path)
    try:
        visitor = Visitor(space.url)
        assert "data" in visitor.restore(visitor.upload(song(0)).json()[0])  # the model is loaded
        before = set(tmp_path.rglob("*"))
        visitor.start(visitor.upload(song(1, seconds=20)).json()[0], "restore", 1.0, "mp3")
        wait_until(lambda: bool({path.suffix for path in set(tmp_path.rglob("*")) - before} & {".flac"}), 60)
        time.sleep(random.Random(seed).uniform(0, 3))
    finally:
        process.kill()
        process.wait()
    for path in files_of(space).rglob("*"):
        if path.suffix in (".flac", ".mp3") and not path.name.startswith("."):
            assert soundfile.info(path).frames in (RATE, 20 * RATE), path
    (left,) = tmp_path.glob("unlossy-demo-*")
    make_old([left])
    process, _ = start_demo(tmp_path)
    try:
        assert not left.exists()
        assert len(list(tmp_path.glob("unlossy-demo-*"))) == 1
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)
    assert not list(tmp_path.glob("unlossy-*"))
