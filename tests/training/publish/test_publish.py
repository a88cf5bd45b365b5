"""Publishing to a Hub on loopback and loading from it, with huggingface_hub's real client in processes of their own."""

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import termios
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from conftest import find_port
from hub_server import HubServer, serve
from huggingface_hub import ModelCard, constants
from links import dead_links

from unlossy import UnlossyAutoencoder, UnlossyFeatureExtractor, UnlossyModel, restore
from unlossy_training.evaluation import evaluate
from unlossy_training.hub_files import SHIPPED
from unlossy_training.publish import publish
from unlossy_training.publish.staging import WITHOUT_THE_PACKAGE

RECORD = {
    "runs": [{"stage": "A", "steps": 12, "minutes": 3.5, "audio_seconds": 7200, "hardware": "an abacus"}],
    "data": [{"license": "CC-BY-4.0", "attribution": "A. Composer"}],
}
SPACE_HEADER = "---\nsdk: gradio\n---\n# unlossy\n"


@pytest.fixture(scope="module")
def checkpoint(make_lively: Callable[..., UnlossyModel], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a fit leaves: a tiny model, its record."""
    folder = tmp_path_factory.mktemp("checkpoint")
    save_checkpoint(make_lively(), folder)
    return folder


def save_checkpoint(model: UnlossyModel, folder: Path) -> None:
    model.save_pretrained(folder)
    UnlossyFeatureExtractor().save_pretrained(folder)
    (folder / "training.json").write_text(json.dumps(RECORD))


@pytest.fixture(scope="module")
def results(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return measured(checkpoint, tmp_path_factory.mktemp("results"))


def measured(checkpoint: Path, folder: Path) -> Path:
    """The JSON of an evaluation of two sounds, one of them stereo."""
    sounds = folder / "sounds"
    sounds.mkdir(parents=True)
    random = np.random.default_rng(0)
    for number, channels in enumerate((1, 2)):
        soundfile.write(sounds / f"{number}.flac", random.normal(0, 0.05, (50_000, channels)), 44_100)
    words = [str(sounds), "--model", str(checkpoint), "--grid", "mp3:64", "lossless", "--no-visqol", "--workers", "1"]
    evaluate.main([*words, "--output", str(folder / "results.json"), "--cache", str(folder / "cache")])
    return folder / "results.json"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    with serve(tmp_path_factory.mktemp("hub") / "store", {"hf_mine": "me", "hf_yours": "you"}) as server:
        yield server


def start(
    hub: HubServer, home: Path, *words: str, token: str | None = "hf_mine", stdout: int = subprocess.PIPE
) -> "subprocess.Popen[str]":
    """A Python process whose Hub is the one on loopback."""
    environment = {name: value for name, value in os.environ.items() if name not in ("HF_TOKEN", "HF_HUB_OFFLINE")}
    environment |= hub.environment(token, home) | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, *words], env=environment, stdout=stdout, stderr=subprocess.PIPE, text=True)


def run(hub: HubServer, home: Path, *words: str, token: str | None = "hf_mine") -> tuple[int, str, str]:
    process = start(hub, home, *words, token=token)
    output, errors = process.communicate(timeout=250)
    return process.returncode, output, errors


def words_for(name: str, checkpoint: Path, results: Path, *more: str) -> list[str]:
    given = ["--checkpoint", str(checkpoint), "--results", str(results)]
    return ["-m", "unlossy_training", "publish", name, *given, *more]


def test_dry_run_writes_a_folder_and_uploads_nothing(
    checkpoint: Path, results: Path, tiny_pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    space = tmp_path / "space"
    space.mkdir()
    (space / "README.md").write_text(SPACE_HEADER)
    more = ["--recordings", str(results.parent / "sounds"), "--pairs", str(tiny_pairs), "--space", str(space)]
    more += ["--dry-run", str(tmp_path / "staged"), "--tag", "v1"]
    publish.main(words_for("me/tiny", checkpoint, results, *more)[3:])
    output, errors = capsys.readouterr()
    steps = ("building the wheel", "staging the model", "loading it without the package")
    said = [line for line in errors.splitlines() if re.fullmatch(r".* took \d+ s", line)]
    assert [line.partition(" took ")[0] for line in said] == list(steps)
    assert "loads without the package" in output
    for line in ("dataset me/tiny-pairs", "model me/tiny:", "space me/tiny:", "nothing was uploaded", "be v1"):
        assert line in output
    requirements = (tmp_path / "staged" / "space" / "requirements.txt").read_text()
    staged = tmp_path / "staged" / "model"
    names = {path.relative_to(staged).as_posix() for path in staged.rglob("*")}
    assert names >= {
        "model.safetensors", "config.json", "pipeline_unlossy.py", "LICENSE",
        "evaluation.json", "training.json", "examples/canon.png", "examples/canon_64kbps.restored.flac",
        "plots/mp3.png", "plots/mp3-worst.png",
    }  # fmt: skip
    assert json.loads((staged / "config.json").read_text())["custom_pipelines"]
    address = f"{constants.ENDPOINT}/me/tiny/resolve/v1/{next(staged.glob('*.whl')).name}"
    assert requirements == f"unlossy[space] @ {address}\n"

    card = ModelCard.load(staged / "README.md")
    summary = json.loads(results.read_text())["summary"]
    means = {(row["codec"], version): row["means"][version]["si_sdr"] for row in summary for version in row["means"]}
    entries = {(entry.dataset_config, entry.metric_name): entry.metric_value for entry in card.data.eval_results or []}
    assert entries["mp3-64-kbps", "SI-SDR [dB], detail 0"] == round(means["mp3", "detail 0"], 3)
    assert f"{means['mp3', 'input']:.2f} → {means['mp3', 'detail 1']:.2f}" in card.text
    assert card.data.datasets == ["me/tiny-pairs"]
    assert card.data.pipeline_tag == "audio-to-audio"
    for text in ("A. Composer", "an abacus", "2.0", "plots/mp3-worst.png", 'model="me/tiny"', "spaces/me/tiny"):
        assert text in card.text
    assert f'pip install "unlossy @ {address}"' in card.text
    assert "{{" not in card.content
    assert "{%" not in card.content
    others = {f"{constants.ENDPOINT}/{name}" for name in ("datasets/me/tiny-pairs", "spaces/me/tiny")}
    assert not dead_links(staged / "README.md", others)


@pytest.mark.slow
def test_an_autoencoder_has_a_card_of_its_own(
    make_autoencoder: Callable[..., UnlossyAutoencoder], tmp_path: Path
) -> None:
    folder = tmp_path / "coder"
    model = make_autoencoder()
    model.save_pretrained(folder)
    (folder / "training.json").write_text(json.dumps(RECORD))
    results = measured(folder, tmp_path / "results")
    shutil.copyfile(results, folder / "evaluation.json")  # that of its weights, which needs no --results
    publish.main(["me/coder", "--checkpoint", str(folder), "--dry-run", str(tmp_path / "staged")])
    staged = tmp_path / "staged" / "model"
    card = ModelCard.load(staged / "README.md")
    evaluation = json.loads((staged / "evaluation.json").read_text())  # rounded, as the card's figures are once more
    means = {row["codec"]: row["means"] for row in evaluation["summary"]}
    eight = means["lossless"]["8 bits, detail 1"]
    for name, row in (("8 bits, `detail` 1", eight), ("mp3 64 kbps", means["mp3"]["input"])):
        assert f"| {name} | {row['kbps']:.0f} | {row['zimtohrli']:.2f} | {row['si_sdr']:.2f} |" in card.text
    entries = {(entry.dataset_config, entry.metric_name): entry.metric_value for entry in card.data.eval_results or []}
    assert entries["lossless", "SI-SDR [dB], 8 bits, detail 1"] == round(eight["si_sdr"], 3)
    assert not dead_links(staged / "README.md", set())
    assert (staged / "examples" / "canon.embedding.safetensors").stat().st_size > 0
    assert "{{" not in card.content


def test_what_does_not_fit_is_refused(
    checkpoint: Path,
    results: Path,
    make_lively: Callable[..., UnlossyModel],
    tmp_path: Path,
    refusal: Callable[..., str],
) -> None:
    def refused(*words: str, match: str) -> None:
        assert match in refusal("publish", *words, "--dry-run", tmp_path / "staged")

    given = ["--checkpoint", str(checkpoint), "--results"]
    refused("tiny", *given, str(results), match="no id of a repository")
    refused("me/tiny", *given[:2], match="has no evaluation.json")
    refused("me/tiny", "--checkpoint", "unlossy-48khz", match="only the checkpoints unlossy-44khz, unlossy-44khz-autoe")
    (tmp_path / "other.json").write_text("{}")
    refused("me/tiny", *given, str(tmp_path / "other.json"), match="no result of `unlossy-train evaluate")
    save_checkpoint(make_lively(embedding_size=16), tmp_path / "other")
    refused("me/tiny", "--checkpoint", str(tmp_path / "other"), "--results", str(results), match="other weights")
    refused("me/tiny", *given, str(results), "--pairs", str(tmp_path), match="holds no pairs")
    refused("me/tiny", *given, str(results), "--space", str(tmp_path / "other"), match="is no Space")
    refused("me/tiny", *given, str(results), "--space", "space", "--private", match="leave --private out")
    refused("me/tiny", "--checkpoint", "unlossy-44khz-autoencoder", "--space", "space", match="leave --space out")
    owners = RECORD | {"data": [{"license": "CC-BY-4.0", "attribution": ""}]}
    save_checkpoint(UnlossyModel.from_pretrained(checkpoint), tmp_path / "unnamed")
    (tmp_path / "unnamed" / "training.json").write_text(json.dumps(owners))
    refused("me/tiny", "--checkpoint", str(tmp_path / "unnamed"), "--results", str(results), match="no attribution")


LOAD = """
import sys
import numpy as np
from unlossy import load_model, restore, UnlossyModel
revision, song, result = sys.argv[1:]
model = UnlossyModel.from_pretrained("me/tiny", revision=revision)
np.save(result, restore(song, model).audio)
"""
LOAD_PAIRS = """
import datasets, json
from unlossy_training.pairs.making import decode_pair
whole = datasets.load_dataset("me/tiny-pairs", split="train").with_format(None)
whole = whole.cast_column("clean", datasets.Audio(decode=False)).cast_column("degraded", datasets.Audio(decode=False))
stream = datasets.load_dataset("me/tiny-pairs", split="train", streaming=True).decode(False)
first, streamed = decode_pair(whole[0]), decode_pair(next(iter(stream)))
assert (first[0] == streamed[0]).all()
print(json.dumps([len(whole), sum(1 for _ in stream), *first[0].shape]))
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_all_is_published_and_loads_again(
    hub: HubServer, checkpoint: Path, results: Path, tiny_pairs: Path, tmp_path: Path,
    make_lively: Callable[..., UnlossyModel],
) -> None:  # fmt: skip
    """Model, dataset and Space; by id and by revision; with the package and without; then a second version."""
    space = tmp_path / "space"
    space.mkdir()
    (space / "README.md").write_text(SPACE_HEADER)
    (space / "app.py").write_text("print('hello')\n")
    both = ["--pairs", str(tiny_pairs), "--space", str(space)]
    code, output, errors = run(hub, tmp_path, *words_for("me/tiny", checkpoint, results, *both, "--tag", "v1"))
    assert code == 0, errors[-3000:]
    assert output.count("tag v1") == 3
    space_files = set(hub.store.repository("spaces", "me/tiny").files("v1"))
    assert space_files == {"README.md", "app.py", "requirements.txt", "published.json"}
    first = hub.store.repository("models", "me/tiny").resolve("v1")
    assert first in output

    song = Path("space/examples/canon_64kbps.mp3").resolve()
    wanted = np.asarray(restore(song, UnlossyModel.from_pretrained(checkpoint)).audio)

    def loaded(revision: str) -> np.ndarray:
        result = tmp_path / f"{revision}.npy"
        code, _, errors = run(hub, tmp_path / "reader", "-c", LOAD, revision, str(song), str(result), token=None)
        assert code == 0, errors[-3000:]
        restored: np.ndarray = np.load(result)
        return restored

    np.testing.assert_allclose(loaded("v1"), wanted, atol=1e-5)
    words = ["-P", "-c", WITHOUT_THE_PACKAGE, "unlossy", "me/tiny", str(song), str(tmp_path / "without.npy")]
    code, _, errors = run(hub, tmp_path / "stranger", *words, token=None)
    assert code == 0, errors[-3000:]
    np.testing.assert_allclose(np.load(tmp_path / "without.npy"), wanted, atol=1e-5)
    code, output, errors = run(hub, tmp_path / "reader", "-c", LOAD_PAIRS, token=None)
    assert code == 0, errors[-3000:]
    assert json.loads(output) == [8, 8, 2, 44_100]

    other = make_lively()
    torch.nn.init.normal_(next(other.mask_head.spectrum.parameters()), std=0.2)
    save_checkpoint(other, tmp_path / "other")
    (tmp_path / "other" / "training.json").unlink()
    newer = measured(tmp_path / "other", tmp_path / "newer")
    code, output, errors = run(hub, tmp_path, *words_for("me/tiny", tmp_path / "other", newer, "--tag", "v2"))
    assert code == 0, errors[-3000:]
    repository = hub.store.repository("models", "me/tiny")
    assert repository.resolve("v1") == first != repository.resolve("v2") == repository.resolve("main")
    assert "training.json" in repository.files("v1")
    assert "training.json" not in repository.files("v2")
    np.testing.assert_allclose(loaded("v1"), wanted, atol=1e-5)
    assert np.abs(loaded("main") - wanted).max() > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("name", SHIPPED)
def test_the_checkpoints_in_the_package_can_be_published_as_they_are(name: str, tmp_path: Path) -> None:
    publish.main([f"me/{name}", "--checkpoint", name, "--dry-run", str(tmp_path / "staged")])
    staged = tmp_path / "staged" / "model"
    assert not dead_links(staged / "README.md", set())
    assert (staged / "evaluation.json").read_text() == (SHIPPED[name] / "evaluation.json").read_text()


DOWNLOAD = (
    "import sys; from huggingface_hub import *; snapshot_download('me/shown', repo_type='space', local_dir=sys.argv[1])"
)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_space_is_built_from_what_was_published_and_restores(
    hub: HubServer, checkpoint: Path, results: Path, tmp_path: Path
) -> None:
    """As Hugging Face Spaces does it, but with the libraries that are installed here: tests need no network."""
    gradio_client = pytest.importorskip("gradio_client")
    code, _, errors = run(hub, tmp_path, *words_for("me/shown", checkpoint, results, "--space", "space"))
    assert code == 0, errors[-3000:]
    space, environment = tmp_path / "space", tmp_path / "environment"
    code, _, errors = run(hub, tmp_path / "visitor", "-c", DOWNLOAD, str(space), token=None)
    assert code == 0, errors[-3000:]
    revision = hub.store.repository("models", "me/shown").resolve("main")
    assert f"/me/shown/resolve/{revision}/unlossy-" in (space / "requirements.txt").read_text()

    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    python, libraries = environment / "bin" / "python", sysconfig.get_paths(vars={"base": str(environment)})["purelib"]
    Path(libraries, "here.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    # With all that it depends on, as far as it isn't there: pip finds out, and would have no index to get it from.
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-index", "-r", "requirements.txt"]
    outside = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=space, env=outside, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    where = [str(python), "-c", "import importlib.util as util; print(util.find_spec('unlossy').origin)"]
    assert subprocess.run(where, cwd=space, env=outside, capture_output=True, text=True).stdout.startswith(libraries)

    address = f"http://127.0.0.1:{find_port()}/"
    settings = outside | hub.environment(None, tmp_path / "space-home") | {"GRADIO_SERVER_PORT": address[17:-1]}
    app = subprocess.Popen([str(python), "app.py"], cwd=space, env=settings, stdout=subprocess.PIPE, text=True)
    try:
        assert app.stdout is not None
        assert app.stdout.readline() == f"Unlossy is at {address}\n"
        client = gradio_client.Client(address, verbose=False, download_files=str(tmp_path / "got"))
        song = space / "examples" / "canon_64kbps.mp3"
        restored, _ = client.predict(gradio_client.handle_file(str(song)), 1.0, "flac", api_name="/restore")
        texts = [str(part["props"].get("value")) for part in client.config["components"]]
    finally:
        app.terminate()  # not SIGINT, which a shell's background job ignores
        app.wait(timeout=60)
    assert any(f"({hub.address}/me/shown#limits-and-failure-cases)" in text for text in texts)
    wanted = np.asarray(restore(song, UnlossyModel.from_pretrained(checkpoint)).audio)
    given = np.asarray(soundfile.read(str(restored), always_2d=True, dtype="float32")[0]).T
    np.testing.assert_allclose(given, wanted.clip(-1, 1), atol=1e-4)


@pytest.mark.slow
def test_a_terminal_shows_each_step_and_no_json(
    hub: HubServer, checkpoint: Path, results: Path, tmp_path: Path
) -> None:
    terminal, end = pty.openpty()
    termios.tcsetwinsize(end, (24, 120))
    environment = {name: value for name, value in os.environ.items() if name not in ("HF_TOKEN", "HF_HUB_OFFLINE")}
    environment |= hub.environment("hf_mine", tmp_path) | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, *words_for("me/watched", checkpoint, results)]
    process = subprocess.Popen(command, env=environment, stdout=end, stderr=end)
    os.close(end)
    parts = []
    try:
        while part := os.read(terminal, 65_536):
            parts.append(part)
    except OSError:  # how the end of a terminal is told
        pass
    assert process.wait() == 0
    shown = b"".join(parts).decode()
    names = ("asking the Hub whether it takes this", "building the wheel", "staging the model")
    for number, name in enumerate(names):
        assert f"{name}: {number}/5|" in shown
    for name in (*names, "loading it without the package", r"uploading the model me/watched \(\d+ files, [\d.]+ MB\)"):
        assert re.search(rf"{name} took \d+ s\r\n", shown), shown
    assert re.search(r"/me/watched at revision \w+\r\n", shown)
    assert "{" not in shown
    assert "safetensors" not in shown  # no bars of others
    (tmp_path / "shown.txt").write_text(shown)  # to be looked at, in pytest's folder


UPLOAD = """
import sys
from contextlib import nullcontext
from pathlib import Path
from unlossy_training.publish.uploading import Upload, upload_all
print(upload_all([Upload("model", "me/cut", Path(sys.argv[1]))], None, nullcontext))
"""


def test_an_upload_cut_off_in_the_middle_leaves_the_former_revision_whole(
    hub: HubServer, checkpoint: Path, tmp_path: Path
) -> None:
    code, _, errors = run(hub, tmp_path, "-c", UPLOAD, str(checkpoint))
    assert code == 0, errors[-3000:]
    repository = hub.store.repository("models", "me/cut")
    revision, blobs = repository.resolve("main"), sorted(hub.store.blobs.iterdir())
    changed = tmp_path / "changed"
    changed.mkdir()
    (changed / "model.safetensors").write_bytes(os.urandom(3_000_000))
    hub.stall_after = 1_000_000
    try:
        process = start(hub, tmp_path, "-c", UPLOAD, str(changed))
        assert hub.stalled.wait(60)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    finally:
        hub.stall_after = None
    assert repository.resolve("main") == revision
    code, output, errors = run(
        hub, tmp_path / "reader", "-c",
        "from huggingface_hub import snapshot_download; print(snapshot_download('me/cut'))",
    )  # fmt: skip
    assert code == 0, errors[-3000:]
    weights = Path(output.strip(), "model.safetensors")
    assert weights.read_bytes() == (checkpoint / "model.safetensors").read_bytes()
    code, _, errors = run(hub, tmp_path, "-c", UPLOAD, str(changed))  # and the next attempt succeeds
    assert code == 0, errors[-3000:]
    assert repository.resolve("main") != revision
    assert len(list(hub.store.blobs.iterdir())) == len(blobs) + 1  # nothing torn is left


FILL = """
from huggingface_hub import HfApi
api = HfApi()
api.create_repo("me/taken")
api.upload_file(repo_id="me/taken", path_in_repo="config.json", path_or_fileobj=b'{"model_type": "bert"}')
api.create_repo("me/tagged")
api.upload_file(repo_id="me/tagged", path_in_repo="config.json", path_or_fileobj=b'{"model_type": "unlossy"}')
api.create_tag("me/tagged", tag="v1")
"""


@pytest.mark.slow
def test_errors_of_the_hub_are_clear_and_come_before_any_upload(
    hub: HubServer, checkpoint: Path, results: Path, tmp_path: Path
) -> None:
    assert run(hub, tmp_path, "-c", FILL)[0] == 0

    def refused(name: str, *more: str, token: str | None = "hf_mine") -> str:
        hub.requests.clear()
        code, _, errors = run(hub, tmp_path / "fresh", *words_for(name, checkpoint, results, *more), token=token)
        assert code == 2
        assert not any("preupload" in request or "create" in request for request in hub.requests)
        assert "Traceback" not in errors
        return errors.splitlines()[-1]

    assert "doesn't accept the token" in refused("me/tiny2", token="hf_wrong")
    assert "there is no token for the Hub" in refused("me/tiny2", token=None)
    assert "can't be written with this token, which is for me" in refused("you/tiny2")
    assert "me/taken is there, and holds something else" in refused("me/taken")
    assert "already has the tag v1" in refused("me/tagged", "--tag", "v1")
    words = ["-m", "unlossy_cli", "restore", "space/examples/canon_64kbps.mp3", "-o", str(tmp_path / "x.flac")]
    code, _, errors = run(hub, tmp_path / "fresh", *words, "--model", "me/missing")
    assert code == 2
    assert "me/missing: no Unlossy model found" in errors
    hub.address, address = "http://127.0.0.1:9", hub.address
    try:
        assert "the Hub can't be reached at http://127.0.0.1:9" in refused("me/tiny2")
    finally:
        hub.address = address


def test_the_loopback_hub_keeps_private_repositories_to_their_owner(hub: HubServer, tmp_path: Path) -> None:
    create = "from huggingface_hub import HfApi; print(HfApi().create_repo('me/secret', private=True))"
    assert run(hub, tmp_path, "-c", create)[0] == 0
    look = "from huggingface_hub import HfApi; print(HfApi().model_info('me/secret').private)"
    assert run(hub, tmp_path, "-c", look)[1].strip() == "True"
    code, _, errors = run(hub, tmp_path, "-c", look, token="hf_yours")
    assert code == 1
    assert "RepositoryNotFoundError" in errors
    repositories: Any = sorted(path.name for path in (hub.store.folder / "models" / "me").iterdir())
    assert "secret" in repositories
