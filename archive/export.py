"""The files that a runtime needs beside the weights: `network.onnx`, `network.xml` or `network.param`, and `network.bin`.

All are plain data, written from the eager network; the same network gives the same bytes. Which axes may vary is what varies
among the artifact's samples. Knows nothing of whether the export answers as the network does: archive/runtime_check.py does.
"""

import contextlib
import importlib.util
import inspect
import io
import logging
import re
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from archive.errors import ArchiveError
from handlers.runtimes import RUNTIMES
from handlers.runtimes.openvino import core
from handlers.runtimes.runtime import require
from handlers.settings import Settings
from model_defs.artifact import Artifact
from model_defs.build import find_class

OPSET = 17  # the first with a short-time Fourier transform
INPUT, OUTPUT = "input_{}", "output"


def export(artifact: Artifact, settings: Settings, folder: Path) -> None:
    """Write what the recipe's runtime needs into `folder`; eager, TorchScript and torch.compile need nothing.

    Raises:
        RuntimeUnavailable: the runtime has no such precision, or a package is not installed.
        ArchiveError: int8 without calibration inputs, or a network that the runtime's format cannot hold.
    """
    runtime = RUNTIMES[settings.runtime]
    if not runtime.files:
        return
    runtime.check(settings, "cpu")
    with torch.no_grad():
        if not isinstance(artifact.build_network()(*artifact.example()), Tensor):
            raise ArchiveError(f"runtime {settings.runtime} takes networks that give one tensor; this one gives more: take eager")
    with quiet():
        EXPORTERS[settings.runtime](artifact, settings.precision, folder)


def to_onnx(artifact: Artifact, precision: str, folder: Path) -> None:
    (folder / RUNTIMES["onnxruntime"].files[0]).write_bytes(onnx_of(artifact, precision))


def onnx_of(artifact: Artifact, precision: str) -> bytes:
    """The network as an ONNX file."""
    require("onnxruntime", ("onnx", "onnxruntime"))
    axes = varying_axes(artifact)
    names = [INPUT.format(place) for place in range(len(axes))]
    dynamic = {name: {axis: f"{name}_{axis}" for axis in varying} for name, varying in zip(names, axes, strict=True)}
    exact = io.BytesIO()
    with real_spectra():
        torch.onnx.export(
            artifact.build_network(), artifact.example(), exact, input_names=names, output_names=[OUTPUT],
            dynamic_axes=dynamic | {OUTPUT: {0: "batch"}}, opset_version=OPSET, **by_tracing(),
        )  # fmt: skip
    return exact.getvalue() if precision != "int8" else quantised(exact.getvalue(), names, artifact)


def quantised(exact: bytes, names: list[str], artifact: Artifact) -> bytes:
    """An ONNX file with weights and activations of 8 bits: static, weights per channel."""
    import onnx
    from onnxruntime import quantization

    class Inputs(quantization.CalibrationDataReader):
        def __init__(self):
            self.left = iter(calibration(artifact))

        def get_next(self) -> dict | None:
            tensors = next(self.left, None)
            return tensors and {name: tensor.numpy() for name, tensor in zip(names, tensors, strict=True)}

    made, network, patterns = io.BytesIO(), onnx.load_from_string(exact), kept_exact(artifact)
    quantization.quantize_static(
        network,
        made,
        Inputs(),
        quant_format=quantization.QuantFormat.QDQ,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
        per_channel=True,
        reduce_range=True,  # 7 bits of weight: the sums of 8 overflow on CPUs without VNNI
        nodes_to_exclude=[
            node.name for node in network.graph.node if any(re.fullmatch(pattern, node.name) for pattern in patterns)
        ],
    )
    return made.getvalue()


def to_openvino(artifact: Artifact, precision: str, folder: Path) -> None:
    import openvino

    if precision == "int8":  # ONNX Runtime's quantiser lost less than OpenVINO's own, nncf (docs/decisions.md)
        network = core().read_model(io.BytesIO(onnx_of(artifact, precision)))
    else:
        example = artifact.example()
        shapes = [
            openvino.PartialShape([-1 if axis in varying else size for axis, size in enumerate(tensor.shape)])
            for tensor, varying in zip(example, varying_axes(artifact), strict=True)
        ]
        network = openvino.convert_model(artifact.build_network(), example_input=example, input=shapes)
    openvino.save_model(network, folder / RUNTIMES["openvino"].files[0], compress_to_fp16=False)


def to_ncnn(artifact: Artifact, precision: str, folder: Path) -> None:
    """By pnnx, which reads a trace of the network for one sample."""
    require("ncnn", ("pnnx",))
    if varying_axes(artifact) != [{0}]:
        raise ArchiveError("ncnn takes networks of one input of a fixed size, and this is none: take openvino or onnxruntime")
    pnnx = Path(importlib.util.find_spec("pnnx").origin).with_name("pnnx")
    sample = artifact.example()[0][:1].float()
    with tempfile.TemporaryDirectory() as temporary:
        torch.jit.trace(artifact.build_network(), sample, check_trace=False).save(Path(temporary, "traced.pt"))
        done = subprocess.run([pnnx, "traced.pt", "fp16=0"], cwd=temporary, capture_output=True, text=True, check=False)
        made = [Path(temporary, f"traced.ncnn.{kind}") for kind in ("param", "bin")]
        if done.returncode or not all(file.exists() for file in made):
            raise ArchiveError(f"pnnx cannot convert this network for ncnn: {(done.stderr or done.stdout).strip()[-300:]}")
        operators = {line.split()[0] for line in made[0].read_text().splitlines()[2:]}
        if unknown := sorted(operator for operator in operators if "::" in operator):
            raise ArchiveError(f"ncnn has no {', '.join(unknown)}, which this network needs: take openvino or onnxruntime")
        for file, name in zip(made, RUNTIMES["ncnn"].files, strict=True):
            shutil.copy(file, folder / name)


EXPORTERS = {"onnxruntime": to_onnx, "openvino": to_openvino, "ncnn": to_ncnn}


def calibration(artifact: Artifact) -> list[tuple[Tensor, ...]]:
    """Training inputs as the network takes them, one by one."""
    try:
        payloads = artifact.calibration()
    except FileNotFoundError:
        raise ArchiveError(
            f"no calibration.zip in {artifact.folder}/: int8 must see some training inputs. make train MODEL={artifact.name} "
            "writes it, or zip a few hundred of them there yourself"
        ) from None
    transform = artifact.build_transform()
    return [transform.collate([transform(payload)]) for payload in payloads]


def kept_exact(artifact: Artifact) -> list[str]:
    """Patterns of the nodes that stay in fp32, as the network's class says; ONNX names nodes by their module."""
    modules = getattr(find_class(artifact.network["class_path"]), "KEEP_EXACT", ())
    return [rf".*/{re.escape(module)}/.*" for module in modules]


def varying_axes(artifact: Artifact) -> list[set[int]]:
    """Of each of the network's inputs, the axes whose length depends on how many samples there are, or on which."""
    transform = artifact.build_transform()
    samples = [transform(payload) for _, payload in artifact.samples()]
    batches = [transform.collate([sample]) for sample in samples] + [transform.collate(samples * 2)]
    return [
        {axis for axis, lengths in enumerate(zip(*(tensor.shape for tensor in tensors), strict=True)) if len(set(lengths)) > 1}
        for tensors in zip(*batches, strict=True)
    ]


def by_tracing() -> dict[str, bool]:
    """Later torch exports by another way unless told."""
    return {"dynamo": False} if "dynamo" in inspect.signature(torch.onnx.export).parameters else {}


@contextlib.contextmanager
def real_spectra() -> Iterator[None]:
    """ONNX has no complex numbers: a spectrum is exported as the pairs that `view_as_real` would make of it."""
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


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the exporters' advice, which is about their own workings."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
