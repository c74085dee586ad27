"""What can run a network: one module per runtime, named as in recipes and imported when it is asked for."""

import inspect
import pkgutil

import torch

from handlers.runtimes.runtime import Runtime, RuntimeUnavailable
from handlers.settings import Settings
from model_defs.artifact import Artifact
from model_defs.build import did_you_mean, find_class, imported

BASE = "runtime"  # the one module here that is not a runtime
EAGER = "eager"


def names() -> list[str]:
    """The runtimes that are here; an archive holds `eager` and the one of its recipe."""
    return sorted({module.name for module in pkgutil.iter_modules(__path__)} - {BASE})


def find(name: str) -> type[Runtime]:
    """The class that the runtime's module defines.

    Raises:
        RuntimeUnavailable: there is no such runtime.
    """
    if name not in names():
        raise RuntimeUnavailable(f"no runtime {name!r}{did_you_mean(name, names())}")
    module = imported(f"{__name__}.{name}")
    own = [value for value in vars(module).values() if inspect.isclass(value) and value.__module__ == module.__name__]
    (runtime,) = [value for value in own if issubclass(value, Runtime)]
    return runtime


def check(artifact: Artifact, settings: Settings) -> None:
    """
    Raises:
        RuntimeUnavailable: the network is in a file that this runtime or precision cannot run.
    """
    known = getattr(find_class(artifact.network["class_path"]), "RUNTIMES", None)
    if known is not None and settings.precision not in known.get(settings.runtime, ()):
        able = ", ".join(f"{name} in {' or '.join(precisions)}" for name, precisions in known.items())
        raise RuntimeUnavailable(
            f"runtime {settings.runtime} {settings.precision} cannot run {artifact.name!r}, an imported model; these can: {able}"
        )


def is_exact(artifact: Artifact, settings: Settings) -> bool:
    """Whether the settings ask for the network as it was trained or imported, with which all others are compared."""
    exact = getattr(find_class(artifact.network["class_path"]), "EXACT", (EAGER,))
    return settings.runtime in exact and settings.precision == "fp32" and not settings.channels_last


def load(artifact: Artifact, settings: Settings, device: str, threads: int) -> Runtime:
    """The runtime that the settings name, with the artifact's network in it.

    Args:
        device: "cpu", "cuda:0" ...
        threads: CPU threads of one operation.

    Raises:
        RuntimeUnavailable: it cannot do what the settings ask on this machine.
    """
    runtime = find(settings.runtime)
    check(artifact, settings)
    runtime.check(settings, device)
    for file in runtime.files:
        if not (artifact.folder / file).exists():
            raise RuntimeUnavailable(
                f"no {file} in {artifact.folder}/, which runtime {settings.runtime} runs: make archive exports it"
            )
    torch.set_num_threads(threads)  # of the whole process, since transforms use torch whatever runs the network
    return runtime(artifact, settings, device, threads)
