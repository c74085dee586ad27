"""ONNX Runtime on the CPU, over `network.onnx`."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from handlers.runtimes.runtime import Exported
from handlers.settings import Settings

ERRORS = 3  # ONNX Runtime's number for "only errors are logged"


class OnnxRuntime(Exported):
    precisions = ("fp32", "int8")
    packages = ("onnxruntime",)
    files = ("network.onnx",)

    def loaded(self, files: list[Path], settings: Settings, threads: int) -> Callable[[tuple[Tensor, ...]], Tensor]:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = ERRORS
        # Threads that spin while they wait took 24% of what decoding could have used; see docs/decisions.md.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session = onnxruntime.InferenceSession(str(files[0]), options, providers=["CPUExecutionProvider"])
        names = [given.name for given in session.get_inputs()]

        def run(inputs: tuple[Tensor, ...]) -> Tensor:
            given = {name: tensor.numpy() for name, tensor in zip(names, inputs, strict=True)}
            return torch.from_numpy(session.run(None, given)[0])

        return run
