"""The base classes of all runtimes. A runtime is a callable from a batch of inputs to the network's outputs.

It owns device, precision and threads. It never falls back to something else: what is missing is an error that says what
installs it.
"""

import importlib.util
from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from handlers.settings import Settings
from model_defs.artifact import Artifact
from model_defs.errors import BundleError


class RuntimeUnavailable(BundleError):
    """The runtime cannot do what the recipe asks on this machine; the message says what is missing and what to do."""


class Runtime:
    """The base of every runtime; a subclass states what it needs.

    Args:
        artifact: or the unpacked archive, which also holds the exported `files`.
        settings: the recipe's `handler:` section.
        device: "cpu", "cuda:0" ...
        threads: CPU threads of one operation; `lone_threads` of the settings replaces it for a request that comes alone.
    """

    precisions: tuple[str, ...]  # what the recipe's `precision` may be
    devices: tuple[str, ...] = ("cpu",)  # "cpu", "cuda" or both
    lays_out_channels_last = False  # whether the recipe's `channels_last` has an effect
    has_lone_threads = False  # whether the recipe's `lone_threads` has one
    takes_minutes_to_start = False  # on a CPU; `make tune` leaves it out there
    packages: tuple[str, ...] = ()  # what serving imports beyond what every archive does; an extra of the runtime's name has them
    files: tuple[str, ...] = ()  # what the exporter in `archive/exporters/`, of the runtime's name, writes next to the weights

    def __init__(self, artifact: Artifact, settings: Settings, device: str, threads: int):
        raise NotImplementedError

    def __call__(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """What `collate` gave, each tensor (B, ...) -> the network's output (B, ...), float32 on the CPU."""
        raise NotImplementedError

    @classmethod
    def check(cls, settings: Settings, device: str) -> None:
        """
        Raises:
            RuntimeUnavailable: the runtime does not have this precision, device or setting, or a package is not installed.
        """
        name, kind = settings.runtime, device.partition(":")[0]
        if settings.precision not in cls.precisions:
            raise RuntimeUnavailable(f"precision {settings.precision}: runtime {name} has {', '.join(cls.precisions)}")
        if kind not in cls.devices:
            todo = "write deviceType: cpu into the recipe" if "cpu" in cls.devices else "it needs a GPU, and there is none here"
            raise RuntimeUnavailable(f"runtime {name} does not run on {device}; {todo}")
        if settings.precision == "fp16" and kind == "cpu":
            raise RuntimeUnavailable("precision fp16 is for GPUs, and this is a CPU; take bf16, or fp32")
        if settings.lone_threads and not cls.has_lone_threads:
            raise RuntimeUnavailable(f"lone_threads: runtime {name} has one number of threads; leave it out")
        if settings.channels_last and not cls.lays_out_channels_last:
            raise RuntimeUnavailable(f"channels_last: runtime {name} chooses the layout by itself; leave it out")
        require(name, cls.packages)


class Exported(Runtime):
    """The base of runtimes that run exported `files`; a request that comes alone may have its own number of threads."""

    has_lone_threads = True

    def __init__(self, artifact: Artifact, settings: Settings, device: str, threads: int):
        files = [artifact.folder / file for file in self.files]
        self.batches = self.loaded(files, settings, device, threads)
        lone_threads = settings.lone_threads
        self.lone = self.loaded(files, settings, device, lone_threads) if lone_threads else self.batches

    def __call__(self, inputs: tuple[Tensor, ...]) -> Tensor:
        return (self.lone if len(inputs[0]) == 1 else self.batches)(inputs)

    def loaded(self, files: list[Path], settings: Settings, device: str, threads: int) -> Callable[[tuple[Tensor, ...]], Tensor]:
        """The network in these files on this device, run by this many CPU threads, as a function like `__call__`."""
        raise NotImplementedError


def require(runtime: str, packages: tuple[str, ...]) -> None:
    """
    Raises:
        RuntimeUnavailable: one of the packages is not installed.
    """
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise RuntimeUnavailable(f"runtime {runtime} needs {package}, which is not installed: make setup EXTRAS={runtime}")
