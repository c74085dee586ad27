"""A network from an ONNX file, as somebody else exported it. ONNX Runtime runs it; torch has no network of it."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from model_defs.build import SpecError
from model_defs.file_network import FileNetwork

# Since version 1.29 its import on Linux writes a device id into the home folder and queues telemetry, unless this is set before.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

FILE = "network.onnx"
TINY = torch.finfo(torch.float32).tiny
ERRORS = 3  # ONNX Runtime's level for "log errors only"


def session(file: str | bytes, threads: int) -> Any:
    """An ONNX Runtime session on the CPU.

    Args:
        file: its path, or its contents.
        threads: of one operation.

    Raises:
        SpecError: the package is not installed.
    """
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise SpecError("this model needs onnxruntime, which is not installed: make setup EXTRAS=onnxruntime") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = ERRORS
    # Threads that spin while they wait took 24% of the CPU time that decoding could have used; see docs/decisions.md.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def runner(file: str | bytes, threads: int) -> Callable[[tuple[Tensor, ...]], Tensor]:
    """The ONNX file as a function of its inputs, in their order. It gives the first output."""
    opened = session(file, threads)
    names, output = [given.name for given in opened.get_inputs()], opened.get_outputs()[0].name

    def run(inputs: tuple[Tensor, ...]) -> Tensor:
        given = {name: tensor.numpy() for name, tensor in zip(names, inputs, strict=True)}
        return torch.from_numpy(opened.run([output], given)[0])

    return run


def as_logits(outputs: list[Tensor], are_probabilities: bool) -> list[Tensor]:
    """What a classifier's file gives, as float32 logits. The logarithms of probabilities are logits: their softmax gives them."""
    return [(output.float().clamp(min=TINY).log() if are_probabilities else output.float()) for output in outputs]


class OnnxNetwork(FileNetwork):
    """What the file's first output says of its inputs.

    The runtimes `onnxruntime` and `openvino` run the file without this class. `eager` is this class.
    """

    RUNTIMES: ClassVar = {"eager": ("fp32",), "onnxruntime": ("fp32", "int8"), "openvino": ("fp32", "bf16", "int8")}
    EXACT = ("eager", "onnxruntime")

    def __init__(self) -> None:
        super().__init__()
        self.content = b""
        self.run: Callable[[tuple[Tensor, ...]], Tensor] | None = None

    def forward(self, *inputs: Tensor) -> Tensor:
        """
        Raises:
            RuntimeError: the file takes other shapes.
        """
        if self.run is None:
            self.run = runner(self.content, torch.get_num_threads())
        try:
            return self.run(inputs)
        except Exception as error:  # onnxruntime's own exceptions have no base of their own
            raise RuntimeError(str(error)) from error

    def save(self, folder: Path) -> None:
        (folder / FILE).write_bytes(self.content)

    def load(self, folder: Path) -> None:
        self.content, self.run = (folder / FILE).read_bytes(), None
