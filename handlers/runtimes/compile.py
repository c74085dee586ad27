"""torch.compile: inductor writes C++ or Triton kernels of the frozen network, and the machine's own compiler builds them.

It compiles when a worker starts, once for one input and once for several. This takes a minute or two, which `startupTimeout`
must allow for.
"""

import getpass
import os
import shutil
import tempfile

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
        name_the_cache()
        import torch._inductor.config as inductor

        inductor.freezing = True  # weights become constants, packed for the CPU
        return torch.compile(network, dynamic=True)


def name_the_cache() -> None:
    """Say where inductor keeps its kernels if the user has no name: its own default asks for one. OpenShift gives such users."""
    try:
        getpass.getuser()
    except (KeyError, OSError):  # KeyError until Python 3.12
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", os.path.join(tempfile.gettempdir(), f"torchinductor_{os.getuid()}"))
