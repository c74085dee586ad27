"""Export the eager network to the files that a runtime runs, such as `network.onnx`, and what all exporters need for that.

The exporter of a runtime is the module of its name in `archive/exporters/`, with one function, `export`. The files are plain
data; the same network gives the same bytes. archive/runtime_check.py compares the answers of the export with the network's.
"""

import contextlib
import io
import logging
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from archive.errors import ArchiveError
from handlers import runtimes
from handlers.settings import Settings
from model_defs.artifact import Artifact
from model_defs.build import find_class, imported
from model_defs.file_network import FileNetwork


def exporter(runtime: str) -> str:
    """The dotted name of the module that exports for this runtime."""
    return f"archive.exporters.{runtime}"


def device_of(settings: Settings) -> str:
    """The device on which the archive's answers are proven: the CPU, which every machine has, unless only a GPU can run this."""
    runs_on_cpu = "cpu" in runtimes.find(settings.runtime).devices and settings.precision != "fp16"
    return "cpu" if runs_on_cpu or not torch.cuda.is_available() else "cuda:0"


def export(artifact: Artifact, settings: Settings, folder: Path) -> None:
    """Write the files of the recipe's runtime into `folder`; eager, TorchScript and torch.compile have none.

    Raises:
        RuntimeUnavailable: the runtime does not have the precision, there is no GPU for it, or a package is not installed.
        ArchiveError: int8 without calibration inputs, or a network that the runtime's format cannot hold.
    """
    runtime, device = runtimes.find(settings.runtime), device_of(settings)
    if not runtime.files:
        return
    runtimes.check(artifact, settings)
    runtime.check(settings, device)
    with torch.no_grad():
        network = artifact.build_network()
        if not isinstance(network, FileNetwork) and not isinstance(network(*artifact.example()), Tensor):
            raise ArchiveError(f"runtime {settings.runtime} takes networks that give one tensor; this one gives more: take eager")
    with quiet():
        imported(exporter(settings.runtime)).export(artifact, settings.precision, device, folder)


def calibration(artifact: Artifact) -> list[tuple[Tensor, ...]]:
    """Training inputs as the network takes them, one per batch.

    Raises:
        ArchiveError: the artifact has none.
    """
    try:
        payloads = artifact.calibration()
    except FileNotFoundError:
        raise ArchiveError(
            f"no calibration.zip in {artifact.folder}/: int8 must see some training inputs. make train MODEL={artifact.name} "
            "writes it, or zip a few hundred of them there yourself"
        ) from None
    transform = artifact.build_transform()
    return [transform.collate([transform(payload)]) for payload in payloads]


def kept_exact(artifact: Artifact) -> list[str]:
    """Patterns of the names of ONNX nodes that stay in fp32: those of the modules that the network's class lists."""
    modules = getattr(find_class(artifact.network["class_path"]), "KEEP_EXACT", ())
    return [rf".*/{re.escape(module)}/.*" for module in modules]


def varying_axes(artifact: Artifact) -> list[set[int]]:
    """For each of the network's inputs, the axes whose length varies with the samples in a batch or with their number."""
    transform = artifact.build_transform()
    samples = [transform(payload) for _, payload in artifact.samples()]
    batches = [transform.collate([sample]) for sample in samples] + [transform.collate(samples * 2)]
    return [
        {axis for axis, lengths in enumerate(zip(*(tensor.shape for tensor in tensors), strict=True)) if len(set(lengths)) > 1}
        for tensors in zip(*batches, strict=True)
    ]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hide the exporters' warnings and prints, which are about their own internals."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
