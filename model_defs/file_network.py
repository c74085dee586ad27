"""A network that is kept in files of its own rather than in `weights.safetensors`."""

from pathlib import Path
from typing import ClassVar

from torch import nn


class FileNetwork(nn.Module):
    """The base of networks that read themselves from an artifact's folder.

    `RUNTIMES` has the runtimes that can run it, each with its precisions. `EXACT` are those whose fp32 is the network itself,
    with which all others are compared.
    """

    RUNTIMES: ClassVar[dict[str, tuple[str, ...]]] = {"eager": ("fp32",)}
    EXACT: ClassVar[tuple[str, ...]] = ("eager",)

    def save(self, folder: Path) -> None:
        """Write the network into the folder of an artifact."""
        raise NotImplementedError

    def load(self, folder: Path) -> None:
        """Read what `save` wrote."""
        raise NotImplementedError
