"""CSV files: their rows, checked, each with the line where it begins; and the splits that a file or a folder of them holds."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from train.data.example import DataError
from train.data.notes import tell_left_out
from train.data.splits import SPELLINGS, split_paths

SUFFIX = ".csv"
WRITTEN_EMPTY = {"nan", "null", "n/a", "#n/a", "<na>"}  # how programs write an empty cell, in lower case
OTHER_TABLES = {".tsv", ".xls", ".xlsx", ".ods", ".parquet", ".feather", ".jsonl"}  # files of rows that are not read
SEPARATORS = (";", "\t", "|")  # that files have in place of commas
csv.field_size_limit(10_000_000)  # characters; the csv module's own limit is shorter than a long review


class Row(NamedTuple):
    """One row below the header.

    Args:
        cells: by their columns, as they stand in the file.
        source: `train.csv:17`, the line where the row begins.
    """

    cells: dict[str, str]
    source: str


def csv_splits(root: Path, columns: Sequence[str], are_all_used: bool = False) -> dict[str, list[Row]]:
    """The rows of `root/train.csv`, `root/test.csv` and, if it exists, `root/validation.csv`. If `root` is one CSV file, all its
    rows are "train". It says what it leaves out.

    Args:
        columns: every row has these, and none of their cells is empty.
        are_all_used: whether the caller uses the other columns, too.

    Raises:
        DataError: a file or a column is missing, a row has another length than the header, or a cell is empty.
    """
    files = {"train": root} if root.is_file() else split_files(root)
    splits = {name: list(csv_rows(file, columns)) for name, file in files.items()}
    if not root.is_file():
        kinds = {SUFFIX, *OTHER_TABLES}
        entries = (file for file in sorted(root.iterdir()) if file.suffix.lower() in kinds and not file.name.startswith("."))
        tell_left_out(file.name for file in entries if file not in files.values())
    if not are_all_used:
        tell_unused(splits["train"], columns)
    return splits


def tell_unused(rows: Sequence[Row], columns: Sequence[str]) -> None:
    """Say which columns are left out."""
    tell_left_out(f"column {name!r}" for name in (rows[0].cells if rows else ()) if name not in columns)


def split_files(root: Path) -> dict[str, Path]:
    """The file of each split; for the error see `csv_splits`."""
    there = sorted(root.iterdir(), reverse=True) if root.is_dir() else []
    there = [file for file in there if file.suffix.lower() == SUFFIX and file.is_file()]
    found = split_paths({file: file.stem for file in there}, SPELLINGS)
    for name in SPELLINGS:
        if name not in found and name != "validation":
            raise DataError(f"{root / name}{SUFFIX}: no such file; DATA=<folder> takes one with train.csv and test.csv")
    return found


def csv_rows(file: Path, columns: Sequence[str], may_be_empty: bool = False) -> Iterator[Row]:
    """The rows below the header of one file; see `csv_splits`.

    Args:
        may_be_empty: accept empty cells in `columns`.
    """
    lines = records(file)
    first, header = next(lines, (1, []))
    header = [name.strip() for name in header]
    for name in columns:
        if name not in header:
            said = ",".join(header) or "missing"
            wrong = next((mark for mark in SEPARATORS if len(header) == 1 and mark in said), None)
            hint = f"; its columns are separated by {wrong!r}: save it with commas" if wrong else ""
            raise DataError(f"{file}:{first}: no column {name!r}; the header is {said}{hint}")
    if twice := [name for name in header if header.count(name) > 1]:
        raise DataError(f"{file}:{first}: two columns are called {twice[0]!r}; rename or remove one")
    for line, fields in lines:
        if len(fields) != len(header):
            raise DataError(f"{file}:{line}: {len(fields)} fields; the header has {len(header)}: quote texts that hold commas")
        row = Row(dict(zip(header, fields, strict=True)), f"{file}:{line}")
        for name in columns:
            if not may_be_empty and not row.cells[name].strip():
                raise DataError(f"{row.source}: the {name} is empty; fill it or remove the row")
        yield row


def records(file: Path) -> Iterator[tuple[int, list[str]]]:
    """(line, fields) for each row that is not blank. A quoted field may go on for many lines.

    Raises:
        DataError: no such file, not CSV, not text.
    """
    line = 1
    try:
        # surrogateescape turns a byte that is not UTF-8 into a lone surrogate, so that the error can name the line. A strict
        # decoder reads ahead and cannot.
        with file.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as opened:
            reader = csv.reader(opened, strict=True)
            for fields in reader:
                if wrong := not_text(fields):
                    raise DataError(f"{file}:{line}: {wrong}")
                if fields:
                    yield line, fields
                line = reader.line_num + 1
    except FileNotFoundError:
        raise DataError(f"{file}: no such file") from None
    except csv.Error as error:
        raise DataError(f"{file}:{line}: not CSV: {error}; quote texts that hold commas, quotes or line breaks") from None


def not_text(fields: list[str]) -> str | None:
    """Why these fields are not text, or None: a byte that is not UTF-8, or NUL, which Python's csv accepts since 3.11."""
    joined = "".join(fields)
    try:
        joined.encode()
    except UnicodeEncodeError as error:
        return f"not UTF-8: byte 0x{ord(joined[error.start]) - 0xDC00:02x}; save the file as UTF-8"
    return "a NUL character, which no text holds; save the file as UTF-8" if "\0" in joined else None
