"""What every runtime is: a callable from a batch of inputs to the network's outputs, which owns device, precision and threads.

There is no silent second choice: what is missing is an error that names what installs it.
"""

import importlib.util
from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from handlers.settings import Settings
from model_defs.artifact import Artifact
from model_defs.errors import BundleError


class RuntimeUnavailable(BundleError):
    """The runtime cannot do here what the recipe asks; the message says what is missing and what to do."""


class Runtime:
    """The base of every runtime; a subclass says what it needs.

    Args:
        artifact: or the unpacked archive, which also holds the exported `files`.
        settings: the recipe's `handler:` section.
        device: "cpu", "cuda:0" ...
        threads: CPU threads for one operation, but for a lone request where the settings say `lone_threads`.
    """

    precisions: tuple[str, ...]  # of the recipe's `precision`
    devices: tuple[str, ...] = ("cpu",)
    lays_out_channels_last = False  # whether the recipe's `channels_last` means anything to it
    has_lone_threads = False  # whether the recipe's `lone_threads` does
    packages: tuple[str, ...] = ()  # that serving needs beyond what every archive does
    files: tuple[str, ...] = ()  # beside the weights, written by archive/export.py

    def __init__(self, artifact: Artifact, settings: Settings, device: str, threads: int):
        raise NotImplementedError

    def __call__(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """What `collate` gave, the batch first -> what the network makes of it, float32 on the CPU."""
        raise NotImplementedError

    @classmethod
    def check(cls, settings: Settings, device: str) -> None:
        """
        Raises:
            RuntimeUnavailable: a precision, a device or a layout that this runtime has not, or a package that is not installed.
        """
        name, kind = settings.runtime, device.partition(":")[0]
        if settings.precision not in cls.precisions:
            raise RuntimeUnavailable(f"precision {settings.precision}: runtime {name} has {', '.join(cls.precisions)}")
        if kind not in cls.devices:
            raise RuntimeUnavailable(f"runtime {name} does not run on {device}; write deviceType: cpu into the recipe")
        if settings.precision == "fp16" and kind == "cpu":
            raise RuntimeUnavailable("precision fp16 is for GPUs, and this is a CPU; take bf16, or fp32")
        if settings.lone_threads and not cls.has_lone_threads:
            raise RuntimeUnavailable(f"lone_threads: runtime {name} has one number of threads; leave it out")
        if settings.channels_last and not cls.lays_out_channels_last:
            raise RuntimeUnavailable(f"channels_last: runtime {name} chooses the layout by itself; leave it out")
        require(name, cls.packages)


class Exported(Runtime):
    """The base of those that run exported `files`; a request that comes alone may have a number of threads of its own."""

    has_lone_threads = True

    def __init__(self, artifact: Artifact, settings: Settings, device: str, threads: int):
        files = [artifact.folder / file for file in self.files]
        self.batches = self.loaded(files, settings, threads)
        self.lone = self.loaded(files, settings, settings.lone_threads) if settings.lone_threads else self.batches

    def __call__(self, inputs: tuple[Tensor, ...]) -> Tensor:
        return (self.lone if len(inputs[0]) == 1 else self.batches)(inputs)

    def loaded(self, files: list[Path], settings: Settings, threads: int) -> Callable[[tuple[Tensor, ...]], Tensor]:
        """The network in these files, run by so many threads: from a batch of inputs to its outputs, as in `__call__`."""
        raise NotImplementedError


def require(runtime: str, packages: tuple[str, ...]) -> None:
    """
    Raises:
        RuntimeUnavailable: one of them is not installed.
    """
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise RuntimeUnavailable(f"runtime {runtime} needs {package}, which is not installed: make setup EXTRAS={runtime}")
