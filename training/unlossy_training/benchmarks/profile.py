"""Shows where the time of restoring goes: by step of the whole, and by kind of operator inside the network.

    unlossy-train benchmark-profile

All times are those of one core. ONNX Runtime tells how long each operator took; the sizes of the network's matrix
products tell how many operations they are, and a single large product how many the core could do.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnxruntime

from unlossy import SHIPPED_MODEL, load_model
from unlossy.hub.audio_unlossy import AudioReader
from unlossy.hub.audio_writing_unlossy import AudioWriter
from unlossy.hub.onnx_unlossy import ONNX_FILE, OnnxModel
from unlossy.hub.streaming_unlossy import model_blocks
from unlossy_cli import entry

from .restore import SAMPLING_RATE, write_music

SECONDS, RUNS = 60, 3  # of audio; of which the fastest counts
BLOCK_SECONDS = 8.0  # as `restore` has it
KINDS = {
    "matrix products": ("MatMul", "FusedMatMul", "Gemm"),
    "convolutions": ("Conv", "ReorderInput", "ReorderOutput"),
    "normalisation and activation": ("LayerNormalization", "BiasGelu", "Gelu", "Tanh"),
    "copies": ("Transpose", "Concat", "Split", "Slice", "Gather", "GatherND", "Pad", "Expand", "Reshape", "Where"),
}
OTHERS = "sums, products and other functions of single values"


def steps(folder: Path) -> dict[str, float]:
    """Processor time of each step of restoring [ms a second of audio]; of starting, in all [ms]."""
    song = folder / "song.mp3"
    write_music(song, SECONDS)
    with AudioReader(song) as reader:
        audio = np.concatenate(list(reader.blocks(SAMPLING_RATE)), axis=1)
    model = load_model(backend="onnx")
    assert isinstance(model, OnnxModel)
    reach, size = model_blocks(model.config, BLOCK_SECONDS)
    block = audio[:, : size + 2 * reach]

    def decode() -> None:
        with AudioReader(song) as reader:
            for _ in reader.blocks(SAMPLING_RATE):
                pass

    def write() -> None:
        with AudioWriter(folder / "song.flac", SAMPLING_RATE, 2, overwrite=True) as writer:
            for start in range(0, audio.shape[1], SAMPLING_RATE):
                writer.write(audio[:, start : start + SAMPLING_RATE])

    network = _fastest(lambda: model(block)) / block.shape[1] * SAMPLING_RATE
    command = [sys.executable, "-c", "import unlossy; unlossy.load_model(backend='onnx')"]
    start = time.perf_counter()
    subprocess.run(command, check=True)
    return {
        "start: imports, and loading the network [ms in all]": 1000 * (time.perf_counter() - start),
        "decode MP3": 1000 * _fastest(decode) / SECONDS,
        "network": 1000 * network,
        "network, for the surroundings of blocks of 8 s": 1000 * network * 2 * reach / size,
        "write FLAC": 1000 * _fastest(write) / SECONDS,
    }


def _fastest(function: Callable[[], object]) -> float:
    """Processor time of a call [s]."""
    taken = []
    for _ in range(RUNS):
        start = time.process_time()
        function()
        taken.append(time.process_time() - start)
    return min(taken)


def operators(folder: Path) -> tuple[dict[str, float], float]:
    """Share of each kind of operator in the network's time, and how fast its matrix products are [operations/s]."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.enable_profiling = 1, True
    options.profile_file_prefix = os.fspath(folder / "profile")
    session = onnxruntime.InferenceSession(Path(SHIPPED_MODEL) / ONNX_FILE, options, providers=["CPUExecutionProvider"])
    audio = np.random.default_rng(0).normal(0, 0.05, (1, 2, 8 * SAMPLING_RATE // 512 * 512)).astype(np.float32)
    inputs = {"input_values": audio, "detail": np.array(1, np.float32), "offset": np.array(0, np.int64)}
    for _ in range(RUNS):
        session.run(None, inputs)
    events = json.loads(Path(session.end_profiling()).read_text())
    of_operator = {name: kind for kind, names in KINDS.items() for name in names}
    time_of, operations = Counter[str](), 0.0
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("kernel_time"):
            about = event["args"]
            time_of[of_operator.get(about["op_name"], OTHERS)] += event["dur"] / 1e6
            if about["op_name"] in KINDS["matrix products"]:
                (given,), (made,) = about["input_type_shape"][0].values(), about["output_type_shape"][0].values()
                # Constants are not listed: what is listed first stands on the left, or else on the right of one.
                operations += 2.0 * np.prod(made) * (given[-1] if made[-2] == given[-2] else given[-2])
    total = time_of.total()
    return {kind: seconds / total for kind, seconds in time_of.most_common()}, operations / time_of["matrix products"]


def peak() -> float:
    """How fast a single large matrix product is on one core [operations/s]."""
    code = """
import time, numpy as np
a = np.random.default_rng(0).normal(size=(2048, 2048)).astype(np.float32)
taken = []
for _ in range(5):
    start = time.process_time(); a @ a; taken.append(time.process_time() - start)
print(2 * 2048**3 / min(taken))
"""
    one_thread = os.environ | dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return float(subprocess.run([sys.executable, "-c", code], env=one_thread, check=True, capture_output=True).stdout)


def main(arguments: Sequence[str] | None = None) -> None:
    entry.Parser(prog="unlossy-train benchmark-profile", description=__doc__.split("\n\n")[0]).parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        of_steps = steps(Path(name))
        shares, reached = operators(Path(name))
    print("| step | one core [ms a second of stereo] |\n|---|---|")
    print("\n".join(f"| {step} | {value:.1f} |" for step, value in of_steps.items()))
    print("\n| inside the network | share of its time |\n|---|---|")
    print("\n".join(f"| {kind} | {100 * value:.0f} % |" for kind, value in shares.items()))
    fastest = peak()
    print(
        f"\nIts matrix products do {reached / 1e9:.0f} billion operations a second, {100 * reached / fastest:.0f} % of "
        f"the {fastest / 1e9:.0f} that NumPy's do with matrices of 2048 × 2048."
    )
