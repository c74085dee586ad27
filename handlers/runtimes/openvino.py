"""OpenVINO on the CPU, over `network.xml` and `network.bin`."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from handlers.runtimes.runtime import Exported, RuntimeUnavailable
from handlers.settings import Settings

HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}  # the precision of the operations that are not int8 in the file


@cache
def core():
    """The process's only `openvino.Core`, which is never destroyed.

    Each Core installs an alternate signal stack (sigaltstack) on its thread and removes it on destruction. Unless Cores are
    destroyed in reverse order, no stack is left, and the next signal (SIGCHLD, or a deadline's SIGALRM) kills the process. Seen
    with 2026.4.
    """
    import openvino

    return openvino.Core()


class OpenVino(Exported):
    precisions = tuple(HINTS)
    packages = ("openvino",)
    files = ("network.xml", "network.bin")

    def loaded(self, files: list[Path], settings: Settings, device: str, threads: int) -> Callable[[tuple[Tensor, ...]], Tensor]:
        if settings.precision == "bf16" and "BF16" not in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise RuntimeUnavailable(
                "this CPU has no bf16 arithmetic, and OpenVINO would take fp32 instead; write precision: fp32"
            )
        chosen = {
            "INFERENCE_PRECISION_HINT": HINTS[settings.precision],
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,  # otherwise every worker pins its threads to the same cores
        }
        request = core().compile_model(files[0], "CPU", chosen).create_infer_request()

        def run(inputs: tuple[Tensor, ...]) -> Tensor:
            return torch.from_numpy(request.infer([tensor.numpy() for tensor in inputs], share_inputs=True)[0])

        return run
