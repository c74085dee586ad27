"""Word vectors from a text file, as GloVe and fastText write them."""

from array import array
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from train.data.example import DataError


class WordVectors(NamedTuple):
    """
    Args:
        index: the row of each word, in the order of the file.
        table: (words, dim) float32.
    """

    index: dict[str, int]
    table: Tensor

    @property
    def dim(self) -> int:
        return self.table.shape[1]


def read_vectors(file: Path) -> WordVectors:
    """One word and its numbers per line. A line with one number is a header, as fastText writes it, and is skipped.

    Words that are not UTF-8 are skipped too. If a word occurs twice, its last vector counts.

    Raises:
        DataError: no such file, or another format.
    """
    if not file.is_file():
        raise DataError(f"{file}: no such file of word vectors")
    index: dict[str, int] = {}
    numbers, dim, rows = array("f"), 0, 0
    with file.open("rb") as lines:
        for line_number, line in enumerate(lines, 1):
            word, *cells = line.rstrip().split(b" ")
            if len(cells) == 1:
                continue
            dim = dim or len(cells)
            try:
                if len(cells) != dim:
                    raise ValueError(f"line {line_number} has {len(cells)} numbers, the lines before it {dim}")
                row = array("f", map(float, cells))
            except ValueError as error:
                raise not_vectors(file, error) from None
            try:
                name = word.decode()
            except UnicodeDecodeError:
                continue
            numbers.extend(row)
            index[name] = rows
            rows += 1
    if not rows:
        raise not_vectors(file, "it has no line with a word and its numbers")
    return WordVectors(index, torch.frombuffer(numbers, dtype=torch.float32).view(rows, dim))


def not_vectors(file: Path, reason: object) -> DataError:
    return DataError(f"{file}: not word vectors ({reason}); give a text file as GloVe and fastText write them")
