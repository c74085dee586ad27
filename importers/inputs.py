"""TRY: one input, a folder of inputs, or a folder of class folders, whose names say what is true of the inputs in them."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from importers.found import ImportRefused

MAX_BYTES = 100 << 20  # of one input
MAX_INPUTS = 20_000
COLUMNS = ("text", "label")  # of a table


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


def read(given: str, labels: list[str], are_texts: bool) -> tuple[list[Input], list[str]]:
    """The inputs, in the order of their names, and what is left out, in words.

    Raises:
        ImportRefused: no input there, one that is too large, or a folder that is not one of the labels.
    """
    path = Path(given)
    left_out: list[str] = []
    if path.is_file() and are_texts and path.suffix.lower() == ".csv":
        found, left_out = table(path)
    elif path.is_file():
        found = [Input(path.name, content(path))]
    elif path.is_dir():
        found = [*files(path, path), *(each for folder in folders(path) for each in files(folder, path, folder.name))]
        inner = [each for folder in folders(path) for each in folders(folder)]
        left_out = [f"the folder {each.relative_to(path)}, which lies in a class folder" for each in inner]
    else:
        raise ImportRefused(f"TRY={given}: no such file or folder; give one input of yours, or a folder of some")
    if not found:
        raise ImportRefused(f"TRY={given}: there is no input in it; give one input of yours, or a folder of some")
    if strange := sorted({each.truth for each in found if each.truth is not None} - set(labels)):
        raise ImportRefused(f"TRY={given}: {strange[0]!r} is no label of the model; its labels: {', '.join(labels[:20])}")
    return found, left_out


def folders(path: Path) -> list[Path]:
    return sorted(each for each in path.iterdir() if each.is_dir() and not each.name.startswith("."))


def files(folder: Path, root: Path, truth: str | None = None) -> list[Input]:
    found = sorted(each for each in folder.iterdir() if not each.is_dir() and not each.name.startswith("."))
    if len(found) > MAX_INPUTS:
        raise ImportRefused(f"TRY: {folder} holds {len(found):,} files; give {MAX_INPUTS:,} at most")
    return [Input(each.relative_to(root).as_posix(), content(each), truth) for each in found]


def content(file: Path) -> bytes:
    if not file.is_file():
        raise ImportRefused(f"TRY: {file} is no file, or a link to nothing; remove it")
    if file.stat().st_size > MAX_BYTES:
        raise ImportRefused(f"TRY: {file} has more than {MAX_BYTES >> 20} MiB; give smaller inputs")
    return file.read_bytes()


def table(file: Path) -> tuple[list[Input], list[str]]:
    """A CSV with the columns `text` and `label`, or `text` alone, and what is left out; for the errors see `read`."""
    try:
        header, *rows = list(csv.reader(io.StringIO(content(file).decode("utf-8-sig"), newline=""), strict=True)) or [[]]
    except (ValueError, csv.Error) as error:
        raise ImportRefused(f"TRY={file}: no CSV in UTF-8 ({error}); give the columns text,label") from None
    rows = [row for row in rows if row]
    if header.count("text") != 1 or header.count("label") > 1 or not 1 <= len(rows) <= MAX_INPUTS:
        raise ImportRefused(f"TRY={file}: a CSV has the columns text,label and 1 to {MAX_INPUTS:,} rows")
    for number, row in enumerate(rows, 1):
        if len(row) != len(header):
            raise ImportRefused(
                f"TRY={file}: row {number:,} has {len(row)} fields and the header {len(header)}: quote texts that hold commas"
            )
    cells = [dict(zip(header, row, strict=True)) for row in rows]
    found = [Input(f"{index}.txt", row["text"].encode(), row.get("label")) for index, row in enumerate(cells)]
    return found, [f"the column {name!r}" for name in header if name not in COLUMNS]
