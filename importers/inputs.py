"""TRY: one input, a folder of inputs, or a folder of class folders, whose names say what is true of the inputs in them."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from importers.found import ImportRefused

MAX_BYTES = 100 << 20  # of one input
MAX_INPUTS = 20_000


@dataclass(frozen=True)
class Input:
    """One input.

    Args:
        file: its path in TRY, without backslashes.
        payload: its bytes.
        truth: its label, where the folder or the table says so.
    """

    file: str
    payload: bytes
    truth: str | None = None


def read(given: str, labels: list[str], are_texts: bool) -> list[Input]:
    """The inputs, in the order of their names.

    Raises:
        ImportRefused: no input there, one that is too large, or a folder that is not one of the labels.
    """
    path = Path(given)
    if path.is_file():
        found = table(path) if are_texts and path.suffix == ".csv" else [Input(path.name, content(path))]
    elif path.is_dir():
        found = [*files(path, path), *(each for folder in folders(path) for each in files(folder, path, folder.name))]
    else:
        raise ImportRefused(f"TRY={given}: no such file or folder; give one input of yours, or a folder of some")
    if not found:
        raise ImportRefused(f"TRY={given}: there is no input in it; give one input of yours, or a folder of some")
    if strange := sorted({each.truth for each in found if each.truth is not None} - set(labels)):
        raise ImportRefused(f"TRY={given}: {strange[0]!r} is no label of the model; its labels: {', '.join(labels[:20])}")
    return found


def folders(path: Path) -> list[Path]:
    return sorted(each for each in path.iterdir() if each.is_dir() and not each.name.startswith("."))


def files(folder: Path, root: Path, truth: str | None = None) -> list[Input]:
    found = sorted(each for each in folder.iterdir() if each.is_file() and not each.name.startswith("."))
    if len(found) > MAX_INPUTS:
        raise ImportRefused(f"TRY: {folder} holds {len(found):,} files; give {MAX_INPUTS:,} at most")
    return [Input(each.relative_to(root).as_posix(), content(each), truth) for each in found]


def content(file: Path) -> bytes:
    if file.stat().st_size > MAX_BYTES:
        raise ImportRefused(f"TRY: {file} has more than {MAX_BYTES >> 20} MiB; give smaller inputs")
    return file.read_bytes()


def table(file: Path) -> list[Input]:
    """A CSV with the columns `text` and `label`, or `text` alone; for the errors see `read`."""
    try:
        rows = list(csv.DictReader(io.StringIO(content(file).decode("utf-8-sig"), newline="")))
    except (ValueError, csv.Error) as error:
        raise ImportRefused(f"TRY={file}: no CSV in UTF-8 ({error}); give the columns text,label") from None
    if not rows or "text" not in rows[0] or len(rows) > MAX_INPUTS:
        raise ImportRefused(f"TRY={file}: a CSV has the columns text,label and 1 to {MAX_INPUTS:,} rows")
    return [Input(f"{index}.txt", (row["text"] or "").encode(), row.get("label")) for index, row in enumerate(rows)]
