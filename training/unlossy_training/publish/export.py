"""`unlossy-train export CHECKPOINT`: a checkpoint as ONNX files, which need no PyTorch to run."""

import dataclasses
import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx_ir.passes.common import CommonSubexpressionEliminationPass, DeduplicateInitializersPass
from onnxscript import opset20 as op
from onnxscript import optimizer
from torch import Tensor, nn

from unlossy import OnnxAutoencoder, OnnxModel, UnlossyAutoencoder, UnlossyModel
from unlossy.embedding import fingerprint_of
from unlossy.hub.audio_writing_unlossy import TemporaryFile
from unlossy.hub.onnx_unlossy import (
    DECODER_FILE,
    ENCODER_FILE,
    METADATA,
    ONNX_FILE,
    OnnxAutoencoderConfig,
    OnnxConfig,
    digest_of,
)
from unlossy_cli import entry

from ..hub_files import Network, load_network

OPSET = 20
LARGEST_DIFFERENCE = 1e-4  # to PyTorch's samples
# Of an embedding's values, where the last bit decides between two steps of the envelope, and that on coefficients.
LARGEST_SHARE = 0.01
CHECKED_SECONDS = 8


class _Function(nn.Module):
    """What a model is to do, with tensors alone as inputs, as an ONNX graph has them."""

    def __init__(self, model: Network, function: Callable[..., Tensor | None]):
        super().__init__()
        self.model, self.function = model, function

    def forward(self, *inputs: Tensor) -> Tensor | None:
        return self.function(*inputs)


def export(folder: Path) -> list[Path]:
    """Write `onnx/` into the folder of a checkpoint.

    Of a restorer that is `model.onnx`. Its inputs are `input_values` (float32 of shape
    `(batch, 2, hops · hop_length)`), `detail` (float32) and `offset` (int64), its output is `audio_values`, of the
    input's shape; see [`unlossy.UnlossyModel.forward`].

    Of an autoencoder, `encoder_model.onnx` makes of such `input_values` the `embeddings` (float32 of shape
    `(batch, frames, embedding_size)`), and `decoder_model.onnx` of `embeddings`, `detail` and `offset` the
    `audio_values`, of shape `(batch, 2, (frames - 2) · hop_length)`; see [`unlossy.UnlossyAutoencoder`].

    Args:
        folder (`Path`): with `config.json` and `model.safetensors`.

    Returns:
        the files.

    Raises:
        ModelNotFoundError: there is no model in the folder.
        ValueError: what ONNX Runtime makes of it is not what PyTorch does.
    """
    model = load_network(folder).float()
    hop_length = model.config.hop_length
    batch, audio = torch.export.Dim("batch", max=2**10), torch.zeros(2, 2, 40 * hop_length)
    hops, frames = torch.export.Dim("hops", min=4, max=2**20), torch.export.Dim("frames", min=6, max=2**20)
    whole_hops = {0: batch, 2: hop_length * hops}
    about: dict[str, Any] = {"config": model.config.own_fields(), "weights": digest_of(folder / "model.safetensors")}
    if isinstance(model, UnlossyModel):
        about["blocks"] = _fields(OnnxConfig, model)
        graphs = {
            ONNX_FILE: _to_graph(
                _Function(model, lambda x, detail, offset: model(x, detail=detail, offset=offset).audio_values),
                {"input_values": (audio, whole_hops), **_SCALARS},
                "audio_values",
            )
        }
    else:
        steps = model.envelope_coder.steps()
        # All must be the same to the last bit, whoever encodes and decodes: not computed by the graph, but a constant.
        model.envelope_coder.steps = lambda: steps  # type: ignore[method-assign]
        about["blocks"] = _fields(OnnxAutoencoderConfig, model)
        about["fingerprint"] = fingerprint_of(model)
        about["envelope_steps"] = steps.float().unflatten(0, (-1, model.config.envelope_size)).tolist()
        with torch.no_grad():
            embeddings = model.encode(audio).embeddings
        graphs = {
            ENCODER_FILE: _to_graph(
                _Function(model, lambda x: model.encode(x).embeddings),
                {"input_values": (audio, whole_hops)},
                "embeddings",
            ),
            DECODER_FILE: _to_graph(
                _Function(model, lambda x, detail, offset: model.decode(x, detail=detail, offset=offset).audio_values),
                {"embeddings": (embeddings, {0: batch, 1: frames}), **_SCALARS},
                "audio_values",
            ),
        }
    (folder / "onnx").mkdir(exist_ok=True)
    with ExitStack() as stack:
        files = []
        for name, graph in graphs.items():
            onnx.helper.set_model_props(graph, {METADATA: json.dumps(about)})
            files.append(TemporaryFile(folder / name, overwrite=True))
            stack.callback(files[-1].discard)
            files[-1].path.write_bytes(graph.SerializeToString())
        check(model, *(file.path for file in files))
        for file in files:
            file.keep()
    return [folder / name for name in graphs]


_SCALARS = {"detail": (torch.tensor(1.0), None), "offset": (torch.tensor(0), None)}


def _fields(kind: type[OnnxConfig], model: Network) -> dict[str, Any]:
    names = [field.name for field in dataclasses.fields(kind) if field.name != "name_or_path"]
    return {name: getattr(model.config, name) for name in names}


def _to_graph(function: _Function, inputs: dict[str, tuple[Tensor, Any]], output: str) -> onnx.ModelProto:
    """
    Args:
        inputs (`dict`): an example of each, and which of its dimensions vary.
    """
    examples, shapes = zip(*inputs.values(), strict=True)
    with torch.no_grad():
        function.eval()(*examples)  # what is made when it is first needed must be made of numbers, not of stand-ins
    program = torch.onnx.export(
        function,
        examples,
        dynamo=True,
        dynamic_shapes=(shapes,),
        input_names=list(inputs),
        output_names=[output],
        opset_version=OPSET,
        custom_translation_table={
            torch.ops.aten.__rshift__.Scalar: _shift_right,
            torch.ops.aten.scalar_tensor.default: _number,
            torch.ops.aten.sort.stable: _sort,
        },
        # The optimiser takes 1e-12 for 0, and what guards a division away with it: no more than this of it.
        optimize=False,
        verbose=False,
    )
    assert program is not None
    DeduplicateInitializersPass()(program.model)
    CommonSubexpressionEliminationPass()(program.model)
    optimizer.fold_constants(program.model)
    optimizer.remove_unused_nodes(program.model)
    graph = program.model_proto
    for node in graph.graph.node:
        del node.metadata_props[:]  # where in the code it comes from, four megabytes of it
    del graph.graph.value_info[:]
    return graph


def check(model: Network, *paths: Path) -> float:
    """The largest difference between ONNX Runtime's samples and PyTorch's.

    Raises:
        ValueError: it is above `LARGEST_DIFFERENCE`, or more than `LARGEST_SHARE` of an embedding's values differ.
    """
    random = np.random.default_rng(0)
    time = np.arange(CHECKED_SECONDS * model.config.sampling_rate) / model.config.sampling_rate
    tones = sum(np.sin(2 * np.pi * hertz * time) * np.exp(-5 * (time * beat % 1)) for hertz, beat in _NOTES)
    stereo = np.stack([tones, 0.7 * np.roll(tones, 40)]) / 8 + random.normal(0, 0.01, (2, len(time)))
    stereo = stereo.astype(np.float32)
    run = _run_restorer if isinstance(model, UnlossyModel) else _run_autoencoder
    largest = 0.0
    for audio, detail in ((stereo, 1.0), (stereo, 0.0), (stereo[:1], 0.5), (stereo[:, :12_345], 1.0)):
        with torch.inference_mode():
            given, wanted = run(model, paths, audio, detail, model.config.block_alignment)  # type: ignore[arg-type]
        largest = max(largest, float(np.abs(given - wanted.numpy()).max()))
    if not largest <= LARGEST_DIFFERENCE:
        raise ValueError(f"{paths[-1]}: ONNX Runtime's samples differ from PyTorch's by {largest:g}, more than 1e-4")
    return largest


def _run_restorer(
    model: UnlossyModel, paths: Sequence[Path], audio: np.ndarray, detail: float, offset: int
) -> tuple[np.ndarray, Tensor]:
    """What ONNX Runtime and what PyTorch makes of audio."""
    wanted = model(torch.from_numpy(audio)[None], detail=detail, offset=offset).audio_values
    assert wanted is not None
    return OnnxModel(*paths)(audio, detail, offset), wanted[0]


def _run_autoencoder(
    model: UnlossyAutoencoder, paths: Sequence[Path], audio: np.ndarray, detail: float, offset: int
) -> tuple[np.ndarray, Tensor]:
    """The same of the audio's embedding, which is compared here."""
    exported, embeddings = OnnxAutoencoder(*paths), model.encode(torch.from_numpy(audio)[None]).embeddings
    channels, samples = audio.shape
    different = float((np.abs(exported.encode(audio) - embeddings[0].numpy()) > 1e-3).mean())
    if different > LARGEST_SHARE:
        raise ValueError(f"{paths[0]}: {different:.1%} of ONNX Runtime's values are not PyTorch's")
    wanted = model.decode(embeddings, num_samples=samples, channels=channels, detail=detail, offset=offset).audio_values
    return exported.decode(embeddings[0].numpy(), samples, channels, detail, offset), wanted[0]


_NOTES = ((220.0, 2.0), (554.4, 3.1), (1318.5, 1.3), (3520.0, 4.7), (9000.0, 2.9))  # [Hz] and beats a second


def _shift_right(x, bits):  # type: ignore[no-untyped-def]  # names of the graph's values, as onnxscript has them
    """An arithmetic shift to the right is emulated by ten operators. The noise masks the sign bits that it leaves."""
    unsigned: Any = op.Cast(x, to=onnx.TensorProto.UINT64)
    count: Any = op.Constant(value=onnx.helper.make_tensor("bits", onnx.TensorProto.UINT64, [], [bits]))
    return op.Cast(op.BitShift(unsigned, count, direction="RIGHT"), to=onnx.TensorProto.INT64)


def _sort(x, *, stable, dim, descending):  # type: ignore[no-untyped-def]
    """The exporter has no stable sorting. ONNX takes equal values in their order, see its documentation of TopK."""
    where: Any = op.Constant(value=onnx.helper.make_tensor("dim", onnx.TensorProto.INT64, [1], [dim]))
    return op.TopK(x, op.Gather(op.Shape(x), where), axis=dim, largest=int(descending), sorted=1)


def _number(value, *, dtype, **_):  # type: ignore[no-untyped-def]
    """The exporter rounds numbers to single precision, also where double is computed with."""
    return op.Constant(value=onnx.helper.make_tensor("number", dtype, [], [value]))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = entry.Parser(prog="unlossy-train export", description=__doc__.split("\n")[0])
    parser.add_argument("checkpoint", type=entry.path, metavar="CHECKPOINT", help="the folder of a checkpoint")
    options = parser.parse_args(arguments)
    for path in export(options.checkpoint):
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
    print(f"ONNX Runtime gives the same samples as PyTorch, to {LARGEST_DIFFERENCE:g}")
