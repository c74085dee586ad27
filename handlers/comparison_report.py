"""`comparison.json`: how the answers of an archive's runtime compare with those of the eager fp32 network.

archive/runtime_check.py writes it when the archive is built. The worker reads it, because it adds the measured difference to its
tolerance.
"""

import zipfile
from pathlib import Path

import msgspec

from model_defs.bundle_format import COMPARISON


class Comparison(msgspec.Struct):
    """How far the two runtimes' answers are apart.

    Args:
        runtime, precision: as in the recipe.
        libraries: what ran the network, each with its version.
        samples: how many of the artifact's samples were compared.
        held_out: how many inputs of the test set were.
        largest_difference: between two numbers of an answer, over all inputs; relative for numbers above 1.
        agreement: the share of inputs that both answer alike: with the same first label, or with numbers that are `within`.
        metric: the name of the metric that the next two hold.
        eager, served: the metric on the test set's inputs.
        within: how far numbers that count as alike may be apart; None if the answers have labels.
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
    within: float | None = None

    def __str__(self) -> str:
        has_labels = self.within is None
        alike, parts = ("the same first label", "scores") if has_labels else (f"the same within {self.within:g}", "numbers")
        return (
            f"{self.runtime} {self.precision} against eager fp32: {alike} in {self.agreement:.2%} of "
            f"{self.samples + self.held_out:,} answers, {parts} at most {self.largest_difference:.2g} apart, "
            f"{self.metric} {self.served:.4f} against {self.eager:.4f} on {self.held_out:,} test inputs"
        )

    def write(self, folder: Path) -> None:
        (folder / COMPARISON).write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n")


def read(folder: Path) -> Comparison | None:
    """The comparison in an unpacked archive; None if the archive's runtime is the eager fp32 network itself."""
    file = folder / COMPARISON
    return msgspec.json.decode(file.read_bytes(), type=Comparison) if file.exists() else None


def read_packed(archive: Path) -> Comparison | None:
    """The comparison in an archive; see `read`."""
    with zipfile.ZipFile(archive) as file:
        return msgspec.json.decode(file.read(COMPARISON), type=Comparison) if COMPARISON in file.namelist() else None
