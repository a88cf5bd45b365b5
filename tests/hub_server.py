"""A Hugging Face Hub on loopback: what huggingface_hub's and datasets' own clients need to push and to load.

    with serve(tmp_path / "hub", {"hf_secret": "me"}) as hub:
        subprocess.run(command, env=os.environ | hub.environment("hf_secret"))

Repositories of models, datasets and Spaces with commits, branches, tags, LFS objects and access by token, all on disk:
blobs by their SHA-256, a JSON file for each commit, and refs that are replaced in one go when a commit is whole. Xet is
not there (`HF_HUB_DISABLE_XET`); LFS objects are uploaded in one part. The endpoints are those that hub 2.4 calls.
"""

import asyncio
import base64
import contextlib
import dataclasses
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

import uvicorn
import yaml
from fastapi import Depends, FastAPI, Request
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.requests import ClientDisconnect

PREFIXES = {"models": "", "datasets": "datasets/", "spaces": "spaces/"}
# What the Hub's default .gitattributes keeps in LFS, as far as it matters here.
LFS_SUFFIXES = {".safetensors", ".pt", ".parquet", ".flac", ".mp3", ".png", ".wav"}
LARGEST_REGULAR = 10_000_000  # [bytes]


class HubError(Exception):
    """What the server answers instead; `code` is what the client makes its exception of."""

    def __init__(self, status: int, message: str, code: str = "", **fields: str):
        super().__init__(message)
        self.status, self.message, self.code, self.fields = status, message, code, fields


@dataclass(frozen=True)
class File:
    """A file of a commit. `oid` is git's for regular files."""

    size: int
    sha256: str
    oid: str
    lfs: bool

    @property
    def etag(self) -> str:
        return self.sha256 if self.lfs else self.oid

    def entry(self, path: str) -> dict[str, Any]:
        lfs = {"lfs": {"oid": self.sha256, "size": self.size, "pointerSize": 134}} if self.lfs else {}
        return {"type": "file", "path": path, "size": self.size, "oid": self.oid, **lfs}


class Store:
    """Repositories and blobs in a folder."""

    def __init__(self, folder: Path):
        self.folder, self.blobs = folder, folder / "blobs"
        self.blobs.mkdir(parents=True)

    def repository(self, kind: str, name: str) -> "Repository":
        folder = self.folder / kind / name
        if kind not in PREFIXES or not (folder / "repository.json").exists():
            raise HubError(404, "Repository not found", "RepoNotFound")
        return Repository(self, kind, name, folder)

    def create(self, kind: str, name: str, settings: dict[str, Any]) -> "Repository":
        folder = self.folder / kind / name
        (folder / "commits").mkdir(parents=True)
        _write_json(folder / "repository.json", settings | {"created": _now()})
        repository = Repository(self, kind, name, folder)
        repository.write_refs({"branches": {}, "tags": {}})
        repository.commit({}, "initial commit", None)
        return repository

    def add(self, data: bytes) -> str:
        digest = hashlib.sha256(data).hexdigest()
        (self.blobs / digest).write_bytes(data)
        return digest


@dataclass
class Repository:
    store: Store
    kind: str
    name: str
    folder: Path

    @property
    def private(self) -> bool:
        return bool(json.loads((self.folder / "repository.json").read_text())["private"])

    def refs(self) -> dict[str, dict[str, str]]:
        refs: dict[str, dict[str, str]] = json.loads((self.folder / "refs.json").read_text())
        return refs

    def write_refs(self, refs: dict[str, dict[str, str]]) -> None:
        _write_json(self.folder / "refs.json", refs)

    def resolve(self, revision: str) -> str:
        """The id of a commit by branch, tag, id or beginning of the id."""
        refs = self.refs()
        known = {**refs["branches"], **refs["tags"]}
        if revision in known:
            return known[revision]
        found = [path.stem for path in (self.folder / "commits").glob(f"{revision}*.json")] if len(revision) > 6 else []
        if len(found) != 1:
            raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return found[0]

    def read(self, revision: str) -> dict[str, Any]:
        commit: dict[str, Any] = json.loads((self.folder / "commits" / f"{self.resolve(revision)}.json").read_text())
        return commit

    def files(self, revision: str) -> dict[str, File]:
        return {path: File(**fields) for path, fields in self.read(revision)["files"].items()}

    def commit(self, files: dict[str, File], message: str, parent: str | None) -> str:
        """A new commit on main, visible when it is whole."""
        fields = {path: dataclasses.asdict(file) for path, file in sorted(files.items())}
        commit = {"files": fields, "message": message, "parent": parent, "date": _now()}
        identity = hashlib.sha1(json.dumps(commit).encode() + secrets.token_bytes(8)).hexdigest()
        _write_json(self.folder / "commits" / f"{identity}.json", commit)
        refs = self.refs()
        refs["branches"]["main"] = identity
        self.write_refs(refs)
        return identity


class HubServer:
    """The running server.

    Args:
        tokens (`dict[str, str]`): user by token.

    Attributes:
        stall_after (`int`, *optional*): bytes of an LFS upload after which the server stops reading, as long as this is
            set; `stalled` says that it has.
        requests (`list[str]`): what was asked for, method and path.
    """

    def __init__(self, folder: Path, tokens: dict[str, str]):
        self.store, self.tokens = Store(folder), tokens
        self.stall_after: int | None = None
        self.stalled = threading.Event()
        self.requests: list[str] = []
        self.address = ""

    def environment(self, token: str | None, home: Path) -> dict[str, str]:
        """What a client's process needs; read when huggingface_hub is imported."""
        known = {"HF_ENDPOINT": self.address, "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(home), "HF_HUB_OFFLINE": "0"}
        known |= {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_IMPLICIT_TOKEN": "0", "NO_PROXY": "127.0.0.1"}
        return known | ({"HF_TOKEN": token} if token else {})

    def user(self, request: Request) -> str | None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if not scheme:
            return None
        if token not in self.tokens:
            raise HubError(401, "Invalid credentials in Authorization header")
        return self.tokens[token]

    def readable(self, request: Request, kind: str, name: str) -> Repository:
        repository = self.store.repository(kind, name)
        if repository.private and self.user(request) != name.split("/")[0]:
            raise HubError(404, "Repository not found", "RepoNotFound")
        return repository

    def writable(self, request: Request, kind: str, name: str) -> Repository:
        self.refuse_strangers(request, kind, name)
        return self.store.repository(kind, name)

    def refuse_strangers(self, request: Request, kind: str, name: str) -> None:
        user = self.user(request)
        if user is None:
            raise HubError(401, "Invalid credentials in Authorization header")
        if user != name.split("/")[0]:
            namespace = name.split("/")[0]
            raise HubError(403, f'You don\'t have the rights to create a {kind[:-1]} under the namespace "{namespace}"')


@contextlib.contextmanager
def serve(folder: Path, tokens: dict[str, str]) -> Iterator[HubServer]:
    """A server on a free port of 127.0.0.1, in a thread."""
    hub = HubServer(folder, tokens)
    config = uvicorn.Config(application(hub), host="127.0.0.1", port=0, log_level="error", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        if not thread.is_alive():
            raise RuntimeError("the loopback Hub did not start")
        time.sleep(0.01)
    hub.address = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    try:
        yield hub
    finally:
        server.should_exit = True
        thread.join(timeout=10)


def application(hub: HubServer) -> FastAPI:
    """The endpoints. Handlers are coroutines without inner waiting where they write: one commit at a time."""

    async def note(request: Request) -> None:
        hub.requests.append(f"{request.method} {request.url.path}")

    app = FastAPI(dependencies=[Depends(note)])

    @app.exception_handler(HubError)
    async def answer(request: Request, error: HubError) -> JSONResponse:
        headers = {"X-Error-Message": error.message} | ({"X-Error-Code": error.code} if error.code else {})
        return JSONResponse({"error": error.message, **error.fields}, error.status, headers=headers)

    @app.get("/api/whoami-v2")
    async def whoami(request: Request) -> dict[str, Any]:
        user = hub.user(request)
        if user is None:
            raise HubError(401, "Invalid credentials in Authorization header")
        return {"type": "user", "name": user, "orgs": [], "auth": {"accessToken": {"role": "write"}}}

    @app.post("/api/repos/create")
    async def create(request: Request) -> dict[str, str]:
        asked = await request.json()
        kind = f"{asked.get('type') or 'model'}s"
        name = f"{asked.get('organization') or hub.user(request)}/{asked['name']}"
        hub.refuse_strangers(request, kind, name)
        if kind == "spaces" and not asked.get("sdk"):
            raise HubError(400, "a Space needs an sdk")
        private = asked.get("visibility") == "private" or bool(asked.get("private"))
        url = f"{hub.address}/{PREFIXES[kind]}{name}"
        if (hub.store.folder / kind / name).exists():
            raise HubError(409, f"You already created this {kind[:-1]} repo: {name}", url=url)
        hub.store.create(kind, name, {"private": private, "sdk": asked.get("sdk")})
        return {"url": url}

    @app.post("/api/validate-yaml")
    async def validate_yaml(request: Request) -> JSONResponse:
        content = (await request.json())["content"]
        try:
            header = yaml.safe_load(content.split("---")[1])
            errors = [] if isinstance(header, dict) else [{"message": "the metadata are no mapping"}]
        except (IndexError, yaml.YAMLError) as error:
            errors = [{"message": f"no metadata in YAML: {error}"}]
        return JSONResponse({"errors": errors, "warnings": []}, 400 if errors else 200)

    @app.get("/api/{kind}/{owner}/{name}")
    @app.get("/api/{kind}/{owner}/{name}/revision/{revision:path}")
    async def info(request: Request, kind: str, owner: str, name: str, revision: str = "main") -> dict[str, Any]:
        repository = hub.readable(request, kind, f"{owner}/{name}")
        commit = repository.read(revision)
        siblings = [{"rfilename": path} for path in commit["files"]]
        return {
            "_id": repository.name, "id": repository.name, "author": owner, "sha": repository.resolve(revision),
            "private": repository.private, "gated": False, "disabled": False, "downloads": 0, "likes": 0, "tags": [],
            "lastModified": commit["date"], "createdAt": commit["date"], "siblings": siblings,
        }  # fmt: skip

    @app.get("/api/{kind}/{owner}/{name}/refs")
    async def refs(request: Request, kind: str, owner: str, name: str) -> dict[str, Any]:
        known = hub.readable(request, kind, f"{owner}/{name}").refs()
        heads = {"branches": "refs/heads", "tags": "refs/tags"}
        listed = {
            group: [{"name": ref, "ref": f"{head}/{ref}", "targetCommit": oid} for ref, oid in known[group].items()]
            for group, head in heads.items()
        }
        return listed | {"converts": []}

    @app.get("/api/{kind}/{owner}/{name}/commits/{revision}")
    async def commits(request: Request, kind: str, owner: str, name: str, revision: str) -> list[dict[str, Any]]:
        repository = hub.readable(request, kind, f"{owner}/{name}")
        found, identity = [], repository.resolve(revision)
        while identity:
            commit = repository.read(identity)
            title, date = commit["message"], commit["date"]
            found.append({"id": identity, "title": title, "message": "", "date": date, "authors": [{"user": owner}]})
            identity = commit["parent"]
        return found

    @app.post("/api/{kind}/{owner}/{name}/tag/{revision}")
    async def tag(request: Request, kind: str, owner: str, name: str, revision: str) -> dict[str, str]:
        repository = hub.writable(request, kind, f"{owner}/{name}")
        word = (await request.json())["tag"]
        known = repository.refs()
        if word in known["tags"]:
            raise HubError(409, f"Tag {word} already exists")
        known["tags"][word] = repository.resolve(revision)
        repository.write_refs(known)
        return {"ref": f"refs/tags/{word}"}

    @app.get("/api/{kind}/{owner}/{name}/tree/{revision}")
    @app.get("/api/{kind}/{owner}/{name}/tree/{revision}/{path:path}")
    async def tree(
        request: Request, kind: str, owner: str, name: str, revision: str, path: str = "", recursive: bool = False
    ) -> list[dict[str, Any]]:
        files = hub.readable(request, kind, f"{owner}/{name}").files(revision)
        below = {one: file for one, file in files.items() if not path or one.startswith(f"{path}/")}
        if path and not below:
            raise HubError(404, f"{path} does not exist", "EntryNotFound")
        direct = [one for one in below if recursive or str(PurePosixPath(one).parent) == (path or ".")]
        return [*_folders(below, path, recursive), *(below[one].entry(one) for one in direct)]

    @app.post("/api/{kind}/{owner}/{name}/paths-info/{revision}")
    async def paths_info(request: Request, kind: str, owner: str, name: str, revision: str) -> list[dict[str, Any]]:
        files = hub.readable(request, kind, f"{owner}/{name}").files(revision)
        form = await request.form()
        asked = [str(path) for path in form.getlist("paths")] if form else (await request.json())["paths"]
        found = [files[path].entry(path) for path in asked if path in files]
        return found + [folder for folder in _folders(files, "", True) if folder["path"] in asked]

    @app.post("/api/{kind}/{owner}/{name}/preupload/{revision}")
    async def preupload(request: Request, kind: str, owner: str, name: str, revision: str) -> dict[str, Any]:
        files = hub.writable(request, kind, f"{owner}/{name}").files(revision)
        answers = []
        for file in (await request.json())["files"]:
            path = file["path"]
            large = file["size"] > LARGEST_REGULAR or PurePosixPath(path).suffix in LFS_SUFFIXES
            present = files[path].etag if path in files else None
            mode = "lfs" if large else "regular"
            answers.append({"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": present})
        return {"files": answers}

    @app.post("/{owner}/{name}.git/info/lfs/objects/batch")
    @app.post("/{kind}/{owner}/{name}.git/info/lfs/objects/batch")
    async def lfs_batch(request: Request, owner: str, name: str, kind: str = "models") -> dict[str, Any]:
        hub.writable(request, kind, f"{owner}/{name}")
        objects = []
        for asked in (await request.json())["objects"]:
            entry: dict[str, Any] = {"oid": asked["oid"], "size": asked["size"]}
            if not (hub.store.blobs / asked["oid"]).exists():
                entry["actions"] = {"upload": {"href": f"{hub.address}/lfs/{asked['oid']}"}}
            objects.append(entry)
        return {"transfer": "basic", "objects": objects}

    @app.put("/lfs/{oid}")
    async def lfs_upload(request: Request, oid: str) -> Response:
        temporary = hub.store.blobs / f"{oid}.{secrets.token_hex(4)}"
        digest, received = hashlib.sha256(), 0
        try:
            with temporary.open("wb") as file:
                async for block in request.stream():
                    digest.update(block)
                    received += len(block)
                    file.write(block)
                    if hub.stall_after is not None and received >= hub.stall_after:
                        hub.stalled.set()
                        while hub.stall_after is not None:
                            await asyncio.sleep(0.02)
            if digest.hexdigest() != oid:
                raise HubError(400, f"the content of {oid} is not what its name says")
            temporary.replace(hub.store.blobs / oid)
        except ClientDisconnect:
            return Response(status_code=400)
        finally:
            temporary.unlink(missing_ok=True)
        return Response()

    @app.post("/api/{kind}/{owner}/{name}/commit/{revision}")
    async def commit(request: Request, kind: str, owner: str, name: str, revision: str) -> dict[str, Any]:
        repository = hub.writable(request, kind, f"{owner}/{name}")
        lines = [json.loads(line) for line in (await request.body()).splitlines()]
        header = lines[0]["value"]
        parent = repository.resolve(revision)
        if header.get("parentCommit") not in (None, parent):
            raise HubError(412, "A commit has happened since. Please refresh and try again.")
        files = repository.files(revision)
        for line in lines[1:]:
            _apply(hub.store, files, line["key"], line["value"])
        oid = repository.commit(files, header["summary"], parent)
        url = f"{hub.address}/{PREFIXES[kind]}{owner}/{name}/commit/{oid}"
        return {"success": True, "commitOid": oid, "commitUrl": url, "hookOutput": ""}

    @app.api_route("/{owner}/{name}/resolve/{revision}/{path:path}", methods=["GET", "HEAD"])
    @app.api_route("/{kind}/{owner}/{name}/resolve/{revision}/{path:path}", methods=["GET", "HEAD"])
    async def resolve(
        request: Request, owner: str, name: str, revision: str, path: str, kind: str = "models"
    ) -> Response:
        repository = hub.readable(request, kind, f"{owner}/{name}")
        files = repository.files(revision)
        if path not in files:
            raise HubError(404, f"{path} does not exist", "EntryNotFound")
        headers = {"X-Repo-Commit": repository.resolve(revision), "ETag": f'"{files[path].etag}"'}
        return FileResponse(hub.store.blobs / files[path].sha256, headers=headers)

    return app


def _apply(store: Store, files: dict[str, File], key: str, value: dict[str, Any]) -> None:
    """One operation of a commit on the files of its parent."""
    path = value["path"]
    if key == "file":
        data = base64.b64decode(value["content"])
        oid = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        files[path] = File(len(data), store.add(data), oid, lfs=False)
    elif key == "lfsFile":
        blob = store.blobs / value["oid"]
        if not blob.exists():
            raise HubError(400, f"the LFS object of {path} was not uploaded")
        pointer = hashlib.sha1(value["oid"].encode()).hexdigest()
        files[path] = File(blob.stat().st_size, value["oid"], pointer, lfs=True)
    elif key in ("deletedFile", "deletedFolder"):
        for one in [one for one in files if one == path or one.startswith(f"{path.rstrip('/')}/")]:
            del files[one]
    else:
        raise HubError(400, f"no operation {key}")


def _folders(files: dict[str, File], path: str, recursive: bool) -> list[dict[str, Any]]:
    parents = {str(parent) for one in files for parent in PurePosixPath(one).parents if str(parent) not in (".", path)}
    below = [one for one in sorted(parents) if not path or one.startswith(f"{path}/")]
    shown = [one for one in below if recursive or str(PurePosixPath(one).parent) == (path or ".")]
    return [{"type": "directory", "path": one, "oid": hashlib.sha1(one.encode()).hexdigest()} for one in shown]


def _write_json(path: Path, content: Any) -> None:
    temporary = path.with_suffix(".part")
    temporary.write_text(json.dumps(content))
    temporary.replace(path)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
