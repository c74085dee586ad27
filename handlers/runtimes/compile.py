"""torch.compile: inductor writes C++ or Triton kernels of the frozen network, and the machine's own compiler builds them.

It compiles when a worker starts, once for one input and once for several. This takes a minute or two, which `startupTimeout`
must allow for.
"""

import os
import shutil

import torch
from torch import nn

from handlers.runtimes.eager import Eager
from handlers.runtimes.runtime import RuntimeUnavailable
from handlers.settings import Settings
from model_defs.artifact import Artifact


class Compiled(Eager):
    takes_minutes_to_start = True

    @classmethod
    def check(cls, settings: Settings, device: str) -> None:
        super().check(settings, device)
        compiler = os.environ.get("CXX", "g++")
        if shutil.which(compiler) is None:
            raise RuntimeUnavailable(f"runtime compile needs a C++ compiler, and there is no {compiler}: apt-get install g++")

    def prepared(self, network: nn.Module, artifact: Artifact):
        import torch._inductor.config as inductor

        inductor.freezing = True  # weights become constants, packed for the CPU
        return torch.compile(network, dynamic=True)
