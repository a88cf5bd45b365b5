"""The folder of a model's Hub repository, as `unlossy-train publish` uploads it, and the proof that it works.

config.json  model.safetensors  preprocessor_config.json  *_unlossy.py    what transformers loads
onnx/                                                                     what ONNX Runtime loads
training.json  evaluation.json                                            what the card's figures come from
README.md  LICENSE  plots/  examples/                                     for people
unlossy-….whl                                                             the package, which the Space is built with
"""

import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import pipeline

from unlossy import (
    UnlossyAutoencoder,
    UnlossyFeatureExtractor,
    UnlossyModel,
    decode,
    encode,
    load_autoencoder,
    load_embedding,
    load_model,
    restore,
    save_embedding,
)
from unlossy.embedding import SUFFIX
from unlossy.hub.audio_unlossy import AudioReader
from unlossy.pictures import plot_spectrograms
from unlossy_space import EXAMPLES

from ..conditions import LOSSLESS
from ..corpus.recordings import SAMPLING_RATE
from ..evaluation import measuring, saved
from ..evaluation.cases import Case
from ..evaluation.plots import plot_all, plot_metrics, plot_rates
from ..fit import record
from ..hub_files import Network, load_network

ONNX_FOLDER = "onnx"  # where transformers.js and optimum look
DEGRADED, ORIGINAL = "canon_64kbps.mp3", "canon.flac"
LARGEST_DIFFERENCE = 1e-4  # between the samples of both processes; 16 bits have steps of 3e-5

# Run with -P and without PYTHONPATH; an editable install of the package would still be found, but for the blocker.
WITHOUT_THE_PACKAGE = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("unlossy", "unlossy_cli", "unlossy_space", "unlossy_training"):
            raise ImportError(f"{name} is hidden, as if it were not installed")

sys.meta_path.insert(0, Blocker())

import numpy as np
import torch
from transformers import AutoFeatureExtractor, AutoModel, AutoModelForAudioTokenization, pipeline

kind, folder, song, result = sys.argv[1:]
auto = AutoModel if kind == "unlossy" else AutoModelForAudioTokenization
model = auto.from_pretrained(folder, trust_remote_code=True)
extractor = AutoFeatureExtractor.from_pretrained(folder, trust_remote_code=True)
assert type(model).__module__.startswith("transformers_modules."), type(model).__module__
if kind == "unlossy":
    inputs = extractor(np.zeros((2, 44100), np.float32), sampling_rate=44100)
    assert model.encode(**inputs).embeddings.ndim == 3
    audio = pipeline("audio-to-audio", model=folder, trust_remote_code=True)(song)["audio"]
else:
    inputs = extractor(np.load(song), sampling_rate=44100)
    with torch.inference_mode():
        embeddings = model.encode(**inputs).embeddings
        audio = model.decode(embeddings, num_samples=inputs["input_values"].shape[2]).audio_values[0].numpy()
np.save(result, audio)
assert "unlossy" not in sys.modules
"""


def stage(checkpoint: Path, folder: Path, evaluation: dict[str, Any], recordings: Path | None) -> None:
    """Write everything but the wheel and the card.

    Args:
        checkpoint (`Path`): folder, such as the output of `fit` or `finetune`.
        folder (`Path`): to write to; made if needed.
        evaluation (`dict`): of this checkpoint, see [`unlossy_training.evaluation.saved.read`].
        recordings (`Path`, *optional*): the folder or dataset that was evaluated on, for spectrograms of its clips.
    """
    model = load_network(checkpoint)
    extractor = UnlossyFeatureExtractor(sampling_rate=model.config.sampling_rate)
    if isinstance(model, UnlossyModel):
        pipe: Any = pipeline("audio-to-audio", model=model, feature_extractor=extractor)  # type: ignore[call-overload]
        pipe.save_pretrained(folder)
    else:
        model.save_pretrained(folder)
        extractor.save_pretrained(folder)
    if (checkpoint / ONNX_FOLDER).is_dir():
        shutil.copytree(checkpoint / ONNX_FOLDER, folder / ONNX_FOLDER)
        load_exported = load_model if isinstance(model, UnlossyModel) else load_autoencoder
        load_exported(folder, backend="onnx")  # refuses an export of other weights
    if (checkpoint / record.FILE).exists():
        shutil.copyfile(checkpoint / record.FILE, folder / record.FILE)
    saved.write(folder / saved.FILE, evaluation)
    (folder / "LICENSE").write_text(importlib.metadata.distribution("unlossy").read_text("licenses/LICENSE") or "")
    _plot(checkpoint, model, folder / "plots", evaluation, recordings)
    (folder / "examples").mkdir()
    if isinstance(model, UnlossyModel):
        _give_restored(model, folder / "examples")
    else:
        _give_decoded(model, folder / "examples")


def _plot(checkpoint: Path, model: Network, folder: Path, evaluation: dict[str, Any], recordings: Path | None) -> None:
    folder.mkdir()
    summary, rows = evaluation["summary"], evaluation["clips"]
    if recordings:
        cases = [Case(row["clip"], row["codec"], row["kbps"], recordings / row["clip"]) for row in rows]
        with tempfile.TemporaryDirectory() as cache:
            plot_all(folder, summary, rows, cases, measuring.prepare(str(checkpoint), Path(cache)))
    elif isinstance(model, UnlossyModel):
        for codec in dict.fromkeys(row["codec"] for row in summary if row["codec"] != LOSSLESS):
            plot_metrics(folder / f"{codec}.png", [row for row in summary if row["codec"] == codec])
    else:
        plot_rates(folder / "rates.png", summary)


def _give_restored(model: UnlossyModel, folder: Path) -> None:
    for name in (DEGRADED, ORIGINAL):
        shutil.copyfile(EXAMPLES / name, folder / name)
    restored = folder / f"{Path(DEGRADED).stem}.restored.flac"
    restore(folder / DEGRADED, model, output=restored)
    _draw(folder, DEGRADED, {"input": folder / DEGRADED, "restored": restored, "original": folder / ORIGINAL})


def _give_decoded(model: UnlossyAutoencoder, folder: Path) -> None:
    shutil.copyfile(EXAMPLES / ORIGINAL, folder / ORIGINAL)
    stem = Path(ORIGINAL).stem
    save_embedding(encode(folder / ORIGINAL, model), folder / f"{stem}{SUFFIX}")
    decoded = folder / f"{stem}.decoded.flac"
    decode(load_embedding(folder / f"{stem}{SUFFIX}"), model, output=decoded)
    _draw(folder, ORIGINAL, {"original": folder / ORIGINAL, "decoded": decoded})


def _draw(folder: Path, title: str, files: dict[str, Path]) -> None:
    plot_spectrograms(folder / "canon.png", title, {name: _read(path) for name, path in files.items()}, SAMPLING_RATE)


def _read(path: Path) -> np.ndarray:
    with AudioReader(path) as reader:
        return np.concatenate(list(reader.blocks(SAMPLING_RATE)), axis=1)


def check(checkpoint: Path, folder: Path) -> float:
    """Load a staged folder by the code in it, in a process that can't import the package, and restore the example, or
    encode and decode it.

    Returns:
        `float`: the largest difference of a sample from what the package makes of the checkpoint itself.

    Raises:
        ValueError: it can't be loaded, or the results differ.
    """
    model = load_network(checkpoint)
    with tempfile.TemporaryDirectory() as temporary:
        result = Path(temporary, "result.npy")
        if isinstance(model, UnlossyModel):
            song = EXAMPLES / DEGRADED
            wanted = np.asarray(restore(song, model).audio)
        else:
            song = Path(temporary, "song.npy")
            audio = _read(EXAMPLES / ORIGINAL)
            np.save(song, audio)
            with torch.inference_mode():
                embeddings = model.encode(torch.from_numpy(audio)[None]).embeddings
                wanted = model.decode(embeddings, num_samples=audio.shape[1]).audio_values[0].numpy()
        names = [model.config.model_type, str(folder.resolve()), str(song.resolve())]
        command = [sys.executable, "-P", "-c", WITHOUT_THE_PACKAGE, *names]
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        # A cache of its own: code of an earlier version may lie in the user's.
        environment |= {"HF_HUB_OFFLINE": "1", "HF_HOME": temporary, "CUDA_VISIBLE_DEVICES": ""}
        done = subprocess.run([*command, str(result)], env=environment, cwd=temporary, capture_output=True, text=True)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise ValueError(f"{folder} can't be loaded without the package: {last}")
        given = np.load(result)
    difference = float(np.abs(given - wanted).max()) if given.shape == wanted.shape else float("inf")
    if not difference <= LARGEST_DIFFERENCE:
        raise ValueError(f"{folder} makes of {song.name} something else than {checkpoint}: by up to {difference:g}")
    return difference
