"""ONNX Runtime on the CPU, over `network.onnx`."""

import os
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from handlers.runtimes.runtime import Exported
from handlers.settings import Settings

# Since version 1.29 its import on Linux writes a device id into the home folder and queues telemetry, unless this is set before.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

ERRORS = 3  # ONNX Runtime's level for "log errors only"


class OnnxRuntime(Exported):
    precisions = ("fp32", "int8")
    packages = ("onnxruntime",)
    files = ("network.onnx",)

    def loaded(self, files: list[Path], settings: Settings, device: str, threads: int) -> Callable[[tuple[Tensor, ...]], Tensor]:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = ERRORS
        # Threads that spin while they wait took 24% of the CPU time that decoding could have used; see docs/decisions.md.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session = onnxruntime.InferenceSession(str(files[0]), options, providers=["CPUExecutionProvider"])
        names = [given.name for given in session.get_inputs()]

        def run(inputs: tuple[Tensor, ...]) -> Tensor:
            given = {name: tensor.numpy() for name, tensor in zip(names, inputs, strict=True)}
            return torch.from_numpy(session.run(None, given)[0])

        return run
