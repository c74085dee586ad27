"""Tables: scikit-learn's by name, made-up trips, and any CSV with a header.

Knows nothing of how a row becomes numbers, but for the statistics and the categories that it hands to the transform:
`model_defs/table.py` decodes.
"""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from sklearn import datasets

from model_defs.json_input import SUFFIX, body, inputs_of, parsed
from model_defs.table import TableTransform
from train.data.csv_rows import records
from train.data.examples import DOWNLOADS, DataError, Example, Examples, split
from train.data.synthetic.trips import trip

Cells = dict[str, str]


class TableCSV(Examples):
    """`root/train.csv` and `root/test.csv` (and `validation.csv`, if there), or one CSV file, of which a fifth is for testing.

    A column whose every filled cell in train.csv is a number is numeric, any other one categorical; an empty cell is an unknown
    value.

    Args:
        label: the column to be told by the others.
        categorical: columns of categories that look like numbers: postcodes, say.
        leave_out: columns that the network is not to see: a row's number, say.
    """

    def __init__(
        self,
        root: str = DOWNLOADS,
        label: str = "label",
        categorical: list[str] | None = None,
        leave_out: list[str] | None = None,
        **options: Any,
    ):
        super().__init__(root, **options)
        self.label, self.categorical, self.leave_out = label, categorical or [], leave_out or []

    def read(self) -> dict[str, list[Example]]:
        if self.root.is_file():
            found = list(self.rows(self.root))
            examples = self.examples(found, self.numeric(found))
            train, test = split(examples, 0.2, self.seed)
            return {"train": train, "test": test}
        files = {name: self.root / f"{name}.csv" for name in ("train", "test", "validation")}
        for name in ("train", "test"):
            if not files[name].is_file():
                raise DataError(f"{files[name]}: no such file; DATA=<folder> takes one with train.csv and test.csv")
        rows = {name: list(self.rows(file)) for name, file in files.items() if file.is_file()}
        numeric = self.numeric(rows["train"])
        return {name: self.examples(found, numeric) for name, found in rows.items()}

    def rows(self, file: Path) -> Iterator[tuple[str, Cells]]:
        """Each row's place, and its cells by their columns.

        Raises:
            DataError: no label column, a row of another length than the header, or one without a label.
        """
        lines = records(file)
        first, header = next(lines, (1, []))
        if self.label not in header:
            raise DataError(f"{file}:{first}: no column {self.label!r}; the header is {','.join(header) or 'missing'}")
        for line, fields in lines:
            if len(fields) != len(header):
                raise DataError(
                    f"{file}:{line}: {len(fields)} fields; the header has {len(header)}: quote texts that hold commas"
                )
            cells = {name: field.strip() for name, field in zip(header, fields, strict=True) if name not in self.leave_out}
            if not cells[self.label]:
                raise DataError(f"{file}:{line}: the {self.label} is empty; fill it or remove the row")
            yield f"{file}:{line}", cells

    def numeric(self, rows: list[tuple[str, Cells]]) -> set[str]:
        """The columns of numbers."""
        names = set(rows[0][1]) - {*self.categorical, self.label} if rows else set()
        return {name for name in names if all(as_number(cells[name]) is not None for _, cells in rows if cells.get(name))}

    def examples(self, rows: list[tuple[str, Cells]], numeric: set[str]) -> list[Example]:
        return [
            self.example({name: self.cell(text, name in numeric) for name, text in cells.items()}, cells[self.label], source)
            for source, cells in rows
        ]

    def cell(self, text: str, is_numeric: bool) -> Any:
        """A cell as JSON has it: a text in a column of numbers stays one, and is refused with its line when it is read."""
        if not text:
            return None
        number = as_number(text) if is_numeric else None
        return text if number is None else number

    def example(self, row: dict[str, Any], truth: Any, source: str) -> Example:
        inputs = {name: value for name, value in row.items() if name != self.label}
        return Example(body(inputs), self.truth(truth, source), source, SUFFIX)

    def truth(self, given: Any, source: str) -> Any:
        return str(given)

    def fit(self, transform: TableTransform) -> None:
        """Mean and deviation of each number, and the categories, of what is there to learn from and to choose the epoch by."""
        rows = [inputs_of(parsed(example.read())) for name in ("train", "validation") for example in self.splits[name]]
        columns = {name: [row[name] for row in rows if row[name] is not None] for name in rows[0]}
        for name, values in columns.items():
            if values and all(isinstance(value, int | float) for value in values):
                transform.numbers[name] = mean_and_deviation(values)
            else:
                transform.categories[name] = sorted({str(value) for value in values})


class RegressionCSV(TableCSV):
    """As CSVTable; what is to be told is a number."""

    FEWEST_LABELS = 0

    def truth(self, given: Any, source: str) -> dict[str, float]:
        number = as_number(str(given))
        if number is None:
            raise DataError(f"{source}: the {self.label} is {given!r}; this model learns numbers")
        return {"value": number}

    def labels_of(self, truth: dict) -> set[str]:
        return set()

    def fit(self, transform: TableTransform) -> None:
        super().fit(transform)
        transform.target = mean_and_deviation([example.truth["value"] for example in self.splits["train"]])


class Trips(TableCSV):
    """Trips that `train/data/synthetic/trips.py` makes up: on foot, by bicycle, bus or car; or CSV.

    Args:
        count: for training; a quarter as many more are for testing.
    """

    def __init__(self, root: str = DOWNLOADS, count: int = 4_000, **options: Any):
        super().__init__(root, **options)
        self.count = count

    def read(self) -> dict[str, list[Example]]:
        if self.root != Path(DOWNLOADS):
            return super().read()
        first, tested = 1_000_000 * self.seed, max(1, self.count // 4)
        made = [trip(first + seed) for seed in range(self.count + tested)]
        examples = [self.example(row, way, f"made-up trip {seed}") for seed, (row, way, _) in enumerate(made)]
        return {"train": examples[: self.count], "test": examples[self.count :]}


def bundled(load: Callable) -> Iterator[tuple[dict[str, float], Any, str]]:
    """The rows of a set that scikit-learn brings along, each with what is true of it and its place."""
    table = load()
    names = [str(name) for name in table.feature_names]
    labels = getattr(table, "target_names", None)
    for place, (values, target) in enumerate(zip(table.data.tolist(), table.target.tolist(), strict=True)):
        truth = target if labels is None else str(labels[target])
        yield dict(zip(names, values, strict=True)), truth, f"scikit-learn's {load.__name__.removeprefix('load_')}: {place}"


class BreastCancer(TableCSV):
    """569 tumours by 30 measures of their cells, malignant or benign, which scikit-learn brings along; a fifth is for testing. Or
    CSV."""

    load = staticmethod(datasets.load_breast_cancer)

    def read(self) -> dict[str, list[Example]]:
        if self.root != Path(DOWNLOADS):
            return super().read()
        train, test = split([self.example(*row) for row in bundled(self.load)], 0.2, self.seed)
        return {"train": train, "test": test}


class Wine(BreastCancer):
    """178 wines of three growers by 13 measures, likewise."""

    load = staticmethod(datasets.load_wine)


class Diabetes(RegressionCSV, BreastCancer):
    """442 people by ten measures, and how far their disease went in a year, 25 to 346; likewise."""

    load = staticmethod(datasets.load_diabetes)


def as_number(text: str) -> float | None:
    """None where it is none, or not a finite one."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def mean_and_deviation(values: list[float]) -> tuple[float, float]:
    """The deviation of what never changes is 1, so that it can be divided by."""
    return float(np.mean(values)), float(np.std(values)) or 1.0
