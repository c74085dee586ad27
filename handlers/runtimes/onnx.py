"""ONNX Runtime on the CPU, over `network.onnx`."""

import torch
from torch import Tensor

from handlers.runtimes.runtime import Runtime
from handlers.settings import Settings
from model_defs.artifact import Artifact

ERRORS = 3  # ONNX Runtime's number for "only errors are logged"


class OnnxRuntime(Runtime):
    precisions = ("fp32", "int8")
    has_lone_threads = True
    packages = ("onnxruntime",)
    files = ("network.onnx",)

    def __init__(self, artifact: Artifact, settings: Settings, device: str, threads: int):
        self.file = str(artifact.folder / self.files[0])
        self.batches = self.session(threads)
        self.lone = self.session(settings.lone_threads) if settings.lone_threads else self.batches
        self.names = [given.name for given in self.batches.get_inputs()]

    def session(self, threads: int):
        """The network, run by so many threads."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = ERRORS
        # Threads that spin while they wait took 24% of what decoding could have used; see docs/decisions.md.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        return onnxruntime.InferenceSession(self.file, options, providers=["CPUExecutionProvider"])

    def __call__(self, inputs: tuple[Tensor, ...]) -> Tensor:
        given = {name: tensor.numpy() for name, tensor in zip(self.names, inputs, strict=True)}
        session = self.lone if len(inputs[0]) == 1 else self.batches
        return torch.from_numpy(session.run(None, given)[0])
