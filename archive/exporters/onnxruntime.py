"""Export to `network.onnx`, in fp32 or int8."""

import contextlib
import inspect
import io
import re
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

from archive.errors import ArchiveError
from archive.export import calibration, kept_exact, varying_axes
from handlers.runtimes.onnxruntime import OnnxRuntime
from handlers.runtimes.runtime import require
from model_defs.artifact import Artifact
from model_defs.errors import first_line
from model_defs.onnx_network import OnnxNetwork  # which turns the library's telemetry off, before it is imported

OPSET = 17  # the first with a short-time Fourier transform
INPUT, OUTPUT = "input_{}", "output"
UNQUANTISED = (RuntimeError, ValueError, TypeError, KeyError, IndexError, AttributeError, NotImplementedError)


def export(artifact: Artifact, precision: str, device: str, folder: Path) -> None:
    (folder / OnnxRuntime.files[0]).write_bytes(onnx_of(artifact, precision))


def onnx_of(artifact: Artifact, precision: str) -> bytes:
    """The network as an ONNX file; one that came as such stays as it is.

    Raises:
        RuntimeUnavailable: a package is not installed.
        ArchiveError: int8 without calibration inputs, or an ONNX file that cannot be quantised.
    """
    require("onnxruntime", ("onnx", "onnxruntime"))
    network = artifact.build_network()
    exact = network.content if isinstance(network, OnnxNetwork) else exported(artifact, network)
    return exact if precision != "int8" else quantised(exact, artifact)


def exported(artifact: Artifact, network: nn.Module) -> bytes:
    axes = varying_axes(artifact)
    names = [INPUT.format(index) for index in range(len(axes))]
    dynamic = {name: {axis: f"{name}_{axis}" for axis in varying} for name, varying in zip(names, axes, strict=True)}
    exact = io.BytesIO()
    with real_spectra():
        torch.onnx.export(
            network, artifact.example(), exact, input_names=names, output_names=[OUTPUT],
            dynamic_axes=dynamic | {OUTPUT: {0: "batch"}}, opset_version=OPSET, **by_tracing(),
        )  # fmt: skip
    return exact.getvalue()


def quantised(exact: bytes, artifact: Artifact) -> bytes:
    """The ONNX file with 8-bit weights and activations: static quantisation, weights per channel."""
    import onnx
    from onnxruntime import quantization

    class Inputs(quantization.CalibrationDataReader):
        def __init__(self):
            self.left = iter(calibration(artifact))

        def get_next(self) -> dict | None:
            tensors = next(self.left, None)
            return tensors and {name: tensor.numpy() for name, tensor in zip(names, tensors, strict=True)}

    made, network, patterns = io.BytesIO(), onnx.load_from_string(exact), kept_exact(artifact)
    weights = {tensor.name for tensor in network.graph.initializer}  # old files list them among the inputs
    names = [given.name for given in network.graph.input if given.name not in weights]
    try:
        quantization.quantize_static(
            network,
            made,
            Inputs(),
            quant_format=quantization.QuantFormat.QDQ,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            per_channel=True,
            reduce_range=True,  # 7 bits per weight: with 8, the sums overflow on CPUs without VNNI
            nodes_to_exclude=[
                node.name for node in network.graph.node if any(re.fullmatch(pattern, node.name) for pattern in patterns)
            ],
        )
    except UNQUANTISED as error:
        raise ArchiveError(
            f"int8: ONNX Runtime's quantiser cannot take this network ({first_line(error, 200)}); take fp32"
        ) from error
    return made.getvalue()


def by_tracing() -> dict[str, bool]:
    """The argument that makes newer versions of torch export from a trace, as older ones do without it."""
    return {"dynamo": False} if "dynamo" in inspect.signature(torch.onnx.export).parameters else {}


@contextlib.contextmanager
def real_spectra() -> Iterator[None]:
    """Export a spectrum as pairs of real numbers, as `view_as_real` returns it: ONNX has no complex numbers."""
    from torch.onnx import symbolic_opset17

    def stft(graph, *arguments):
        return symbolic_opset17.stft(graph, *arguments[:7], None)  # without return_complex

    torch.onnx.register_custom_op_symbolic("aten::stft", stft, OPSET)
    torch.onnx.register_custom_op_symbolic("aten::view_as_real", lambda graph, spectrum: spectrum, OPSET)
    try:
        yield
    finally:
        torch.onnx.unregister_custom_op_symbolic("aten::stft", OPSET)
        torch.onnx.unregister_custom_op_symbolic("aten::view_as_real", OPSET)
