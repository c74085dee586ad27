"""OpenVINO on the CPU, over `network.xml` and `network.bin`."""

import torch
from torch import Tensor

from handlers.runtimes.runtime import Runtime, Unavailable
from handlers.settings import Settings
from model_defs.artifact import Artifact

HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}  # of what is not int8 in the file


class OpenVino(Runtime):
    precisions = tuple(HINTS)
    has_lone_threads = True
    packages = ("openvino",)
    files = ("network.xml", "network.bin")

    def __init__(self, artifact: Artifact, settings: Settings, device: str, threads: int):
        import openvino

        core = openvino.Core()
        if settings.precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise Unavailable("this CPU has no bf16 arithmetic, and OpenVINO would take fp32 instead; write precision: fp32")
        chosen = {
            "INFERENCE_PRECISION_HINT": HINTS[settings.precision],
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,  # every worker would pin its threads to the same cores
        }

        def request(threads: int):
            """To the network, run by so many threads."""
            network = core.compile_model(artifact.folder / self.files[0], "CPU", chosen | {"INFERENCE_NUM_THREADS": threads})
            return network.create_infer_request()

        self.batches = request(threads)
        self.lone = request(settings.lone_threads) if settings.lone_threads else self.batches

    def __call__(self, inputs: tuple[Tensor, ...]) -> Tensor:
        request = self.lone if len(inputs[0]) == 1 else self.batches
        outputs = request.infer([tensor.numpy() for tensor in inputs], share_inputs=True)
        return torch.from_numpy(outputs[0])
