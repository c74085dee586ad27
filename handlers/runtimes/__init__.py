"""What can run a network, by the name that a recipe gives it."""

import torch

from handlers.runtimes.compiled import Compiled
from handlers.runtimes.eager import Eager
from handlers.runtimes.ncnn import Ncnn
from handlers.runtimes.onnx import OnnxRuntime
from handlers.runtimes.openvino import OpenVino
from handlers.runtimes.runtime import Runtime, RuntimeUnavailable
from handlers.runtimes.torchscript import TorchScript
from handlers.settings import Settings
from model_defs.artifact import Artifact

RUNTIMES: dict[str, type[Runtime]] = {
    "eager": Eager,
    "torchscript": TorchScript,
    "compile": Compiled,
    "onnxruntime": OnnxRuntime,
    "openvino": OpenVino,
    "ncnn": Ncnn,
}


def load(artifact: Artifact, settings: Settings, device: str, threads: int) -> Runtime:
    """The runtime that the settings name, with the artifact's network in it.

    Raises:
        RuntimeUnavailable: it cannot do here what the settings ask.
    """
    runtime = RUNTIMES[settings.runtime]
    runtime.check(settings, device)
    for file in runtime.files:
        if not (artifact.folder / file).exists():
            raise RuntimeUnavailable(
                f"no {file} in {artifact.folder}/, which runtime {settings.runtime} runs: make archive exports it"
            )
    torch.set_num_threads(threads)  # of the whole process, since transforms use torch whatever runs the network
    return runtime(artifact, settings, device, threads)
