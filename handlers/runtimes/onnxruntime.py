"""ONNX Runtime on the CPU, over `network.onnx`."""

from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from handlers.runtimes.runtime import Exported
from handlers.settings import Settings
from model_defs import onnx_network


class OnnxRuntime(Exported):
    precisions = ("fp32", "int8")
    packages = ("onnxruntime",)
    files = (onnx_network.FILE,)

    def loaded(self, files: list[Path], settings: Settings, device: str, threads: int) -> Callable[[tuple[Tensor, ...]], Tensor]:
        return onnx_network.runner(str(files[0]), threads)
