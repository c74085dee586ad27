"""CSV files, row by row, each with the line where it begins. Knows nothing of what the columns mean."""

import csv
from collections.abc import Iterator
from pathlib import Path

from train.data.examples import DataError

csv.field_size_limit(10_000_000)  # characters; a review is longer than the csv module's own limit allows


def records(file: Path) -> Iterator[tuple[int, list[str]]]:
    """A CSV file's rows that are not blank, each with the line where it begins: a quoted field may go on for many.

    Raises:
        DataError: no such file, not CSV, not text.
    """
    line = 1
    try:
        # A byte that is not UTF-8 comes through as a lone surrogate: a strict decoder reads ahead and cannot say in which line.
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
    """What no text holds: a byte that was not UTF-8, or NUL, which Python's csv lets pass from 3.11 on."""
    joined = "".join(fields)
    try:
        joined.encode()
    except UnicodeEncodeError as error:
        return f"not UTF-8: byte 0x{ord(joined[error.start]) - 0xDC00:02x}; save the file as UTF-8"
    return "a NUL character, which no text holds; save the file as UTF-8" if "\0" in joined else None
