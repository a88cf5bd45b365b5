"""`unlossy-train export CHECKPOINT`: the restorer as an ONNX file, which needs no PyTorch to run."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnxscript import opset20 as op
from onnxscript import optimizer
from torch import Tensor, nn

from unlossy import UnlossyModel
from unlossy.hub.audio_writing_unlossy import TemporaryFile
from unlossy.hub.onnx_unlossy import METADATA, ONNX_FILE, OnnxModel, digest_of
from unlossy_cli import entry

OPSET = 20
LARGEST_DIFFERENCE = 1e-4  # to PyTorch's samples
CHECKED_SECONDS = 8


class _Restorer(nn.Module):
    """The restorer with tensors alone as inputs, as an ONNX graph has them."""

    def __init__(self, model: UnlossyModel):
        super().__init__()
        self.model = model

    def forward(self, input_values: Tensor, detail: Tensor, offset: Tensor) -> Tensor:
        restored = self.model(input_values, detail=detail, offset=offset).audio_values
        assert restored is not None
        return restored


def export(folder: Path) -> Path:
    """Write `onnx/model.onnx` into the folder of a checkpoint.

    Its inputs are `input_values` (float32 of shape `(batch, 2, hops · hop_length)`), `detail` (float32) and `offset`
    (int64), its output is `audio_values`, of the input's shape; see [`unlossy.UnlossyModel.forward`].

    Args:
        folder (`Path`): with `config.json` and `model.safetensors`.

    Returns:
        the file.

    Raises:
        ValueError: ONNX Runtime's samples are not PyTorch's.
    """
    model = UnlossyModel.from_pretrained(folder).float().eval()
    config = model.config
    size = config.hop_length * torch.export.Dim("hops", min=4, max=2**20)
    inputs = torch.zeros(2, 2, 40 * config.hop_length), torch.tensor(1.0), torch.tensor(0)
    restorer = _Restorer(model).eval()
    with torch.no_grad():
        restorer(*inputs)  # what is made when it is first needed must be made of numbers, not of the tracer's stand-ins
    program = torch.onnx.export(
        restorer,
        inputs,
        dynamo=True,
        dynamic_shapes=({0: torch.export.Dim("batch", max=2**10), 2: size}, None, None),
        input_names=["input_values", "detail", "offset"],
        output_names=["audio_values"],
        opset_version=OPSET,
        custom_translation_table={torch.ops.aten.__rshift__.Scalar: _shift_right},
        # The optimiser takes 1e-12 for 0, and what guards a division away with it: constants are folded, no more.
        optimize=False,
        verbose=False,
    )
    assert program is not None
    optimizer.fold_constants(program.model)
    optimizer.remove_unused_nodes(program.model)
    about = {
        "config": config.own_fields(),
        "weights": digest_of(folder / "model.safetensors"),
        "blocks": {
            name: getattr(config, name)
            for name in ("model_type", "sampling_rate", "hop_length", "block_alignment", "receptive_field")
        },
    }
    graph = program.model_proto
    for node in graph.graph.node:
        del node.metadata_props[:]  # where in the code it comes from, four megabytes of it
    del graph.graph.value_info[:]
    onnx.helper.set_model_props(graph, {METADATA: json.dumps(about)})
    path = folder / ONNX_FILE
    path.parent.mkdir(exist_ok=True)
    temporary = TemporaryFile(path, overwrite=True)
    try:
        temporary.path.write_bytes(graph.SerializeToString())
        check(temporary.path, model)
        temporary.keep()
    finally:
        temporary.discard()
    return path


def check(path: Path, model: UnlossyModel) -> float:
    """The largest difference between ONNX Runtime's samples and PyTorch's.

    Raises:
        ValueError: it is above `LARGEST_DIFFERENCE`.
    """
    random = np.random.default_rng(0)
    time = np.arange(CHECKED_SECONDS * model.config.sampling_rate) / model.config.sampling_rate
    tones = sum(np.sin(2 * np.pi * hertz * time) * np.exp(-5 * (time * beat % 1)) for hertz, beat in _NOTES)
    stereo = np.stack([tones, 0.7 * np.roll(tones, 40)]) / 8 + random.normal(0, 0.01, (2, len(time)))
    stereo = stereo.astype(np.float32)
    exported, largest = OnnxModel(path), 0.0
    for audio, detail in ((stereo, 1.0), (stereo, 0.0), (stereo[:1], 0.5), (stereo[:, :12_345], 1.0)):
        with torch.inference_mode():
            wanted = model(torch.from_numpy(audio)[None], detail=detail, offset=model.config.block_alignment)
        assert wanted.audio_values is not None
        given = exported(audio, detail, model.config.block_alignment)
        largest = max(largest, float(np.abs(given - wanted.audio_values[0].numpy()).max()))
    if largest > LARGEST_DIFFERENCE:
        raise ValueError(f"{path}: ONNX Runtime's samples differ from PyTorch's by {largest:g}, more than 1e-4")
    return largest


_NOTES = ((220.0, 2.0), (554.4, 3.1), (1318.5, 1.3), (3520.0, 4.7), (9000.0, 2.9))  # [Hz] and beats a second


def _shift_right(x, bits):  # type: ignore[no-untyped-def]  # names of the graph's values, as onnxscript has them
    """An arithmetic shift to the right is emulated by ten operators. The noise masks the sign bits that it leaves."""
    unsigned: Any = op.Cast(x, to=onnx.TensorProto.UINT64)
    count: Any = op.Constant(value=onnx.helper.make_tensor("bits", onnx.TensorProto.UINT64, [], [bits]))
    return op.Cast(op.BitShift(unsigned, count, direction="RIGHT"), to=onnx.TensorProto.INT64)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = entry.Parser(prog="unlossy-train export", description=__doc__.split("\n")[0])
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="the folder of a restorer")
    options = parser.parse_args(arguments)
    path = export(options.checkpoint)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, the same samples as PyTorch's to {LARGEST_DIFFERENCE:g}")
