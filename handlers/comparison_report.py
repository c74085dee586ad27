"""What an archive says of its runtime beside the eager network: `comparison.json`.

Written when the archive is made, by archive/runtime_check.py; read by the worker, whose tolerance follows it.
"""

import zipfile
from pathlib import Path

import msgspec

FILE = "comparison.json"


class Comparison(msgspec.Struct):
    """How far the answers of the archive's runtime lie from those of the eager fp32 network.

    Args:
        runtime, precision: as the recipe has them.
        libraries: what ran it, each with its version.
        samples: inputs of the artifact's samples that were compared.
        held_out: inputs of the test set.
        largest_difference: of a score, over all of them.
        agreement: the share of inputs with the same first label.
        metric: the name of the next two.
        eager, served: on the test set's inputs.
    """

    runtime: str
    precision: str
    libraries: dict[str, str]
    samples: int
    held_out: int
    largest_difference: float
    agreement: float
    metric: str
    eager: float
    served: float

    def __str__(self) -> str:
        return (
            f"{self.runtime} {self.precision} against eager fp32: the same first label in {self.agreement:.2%} of "
            f"{self.samples + self.held_out:,} answers, scores at most {self.largest_difference:.2g} apart, "
            f"{self.metric} {self.served:.4f} against {self.eager:.4f} on {self.held_out:,} test inputs"
        )

    def write(self, folder: Path) -> None:
        (folder / FILE).write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n")


def read(folder: Path) -> Comparison | None:
    """The comparison in an unpacked archive; None where the archive's runtime is the eager fp32 network itself."""
    file = folder / FILE
    return msgspec.json.decode(file.read_bytes(), type=Comparison) if file.exists() else None


def read_packed(archive: Path) -> Comparison | None:
    """The comparison in an archive; see `read`."""
    with zipfile.ZipFile(archive) as file:
        return msgspec.json.decode(file.read(FILE), type=Comparison) if FILE in file.namelist() else None
