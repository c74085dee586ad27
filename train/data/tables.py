"""Tables: scikit-learn's by name, synthetic trips, and any CSV with a header."""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from sklearn import datasets

from model_defs.build import did_you_mean
from model_defs.json_input import SUFFIX, body, inputs_of, parsed
from model_defs.table import TableTransform
from train.data.csv_rows import WRITTEN_EMPTY, Row, csv_splits
from train.data.example import DataError, Example
from train.data.examples import Examples
from train.data.notes import tell
from train.data.splits import Splits
from train.data.synthetic.trips import trip

UNKNOWN = {*WRITTEN_EMPTY, "", "na", "none", "?", "-", "."}  # cells of a numeric column, in lower case
WITH_MARKS = re.compile(r"[+-]?[\d.]*[,'][\d.,']*\d")  # numbers as "20,5" or "1,100.50", which are texts to a program
FEW = 0.1  # a share of a column's cells that are not numbers by mistake, as it seems
NEW_CATEGORY = re.compile(r"'(.*?)' has no category")  # as model_defs/table.py says it


class TableCSV(Examples):
    """`root/train.csv` and `root/test.csv` (and `validation.csv`), or one CSV file.

    A column is numeric if all its known cells in train.csv are numbers; otherwise it is categorical. An empty cell is an unknown
    value; in a numeric column, so are `NA`, `NaN`, `null`, `?` and the like.

    Args:
        label: the column to predict from the others.
        categorical: columns of categories that look like numbers, such as postcodes.
        leave_out: columns that the network must not see, such as a row's number.
    """

    def __init__(
        self,
        *args: Any,
        label: str = "label",
        categorical: list[str] | None = None,
        leave_out: list[str] | None = None,
        **options: Any,
    ):
        super().__init__(*args, **options)
        self.label, self.categorical, self.leave_out = label, categorical or [], leave_out or []

    def read_root(self) -> Splits:
        splits = csv_splits(self.root, [self.label], are_all_used=True)
        numeric = self.numeric_columns(splits["train"])
        return {name: [self.example_of(row, numeric) for row in rows] for name, rows in splits.items()}

    def numeric_columns(self, rows: list[Row]) -> set[str]:
        """
        Raises:
            DataError: `categorical` or `leave_out` name a column that does not exist, or the label; a column has no name; a few
                cells of a column are not numbers, and all others are.
        """
        if not rows:
            return set()
        names = {*rows[0].cells}
        for key in ("categorical", "leave_out"):
            for name in getattr(self, key):
                if name not in names - {self.label}:
                    raise DataError(f"{key}: the table has no column {name!r} to tell by{did_you_mean(name, names)}")
        if "" in names - {*self.leave_out}:
            raise DataError(
                f"{self.root}: a column has no name; as a row's number it could give the label away: "
                "leave it out with --data.leave_out=[''], or give it a name"
            )
        candidates = names - {self.label, *self.categorical, *self.leave_out}
        return {name for name in rows[0].cells if name in candidates and self.is_numeric(name, rows)}

    def is_numeric(self, name: str, rows: list[Row]) -> bool:
        """Whether the column's known cells are numbers; for the error see `numeric_columns`."""
        cells = [(row, row.cells[name].strip()) for row in rows]
        known = [(row, cell) for row, cell in cells if cell.lower() not in UNKNOWN]
        others = [(row, cell) for row, cell in known if as_number(cell) is None]
        if not others:
            unknown = Counter(cell for _, cell in cells if cell and cell.lower() in UNKNOWN)
            if known and unknown:
                tell(f"unknown values in column {name!r}: {', '.join(f'{count:,} {cell}' for cell, count in unknown.items())}")
            return bool(known) or not unknown
        if all(WITH_MARKS.fullmatch(cell) for _, cell in others):
            row, cell = others[0]
            raise DataError(
                f"{row.source}: {cell!r} in column {name!r} is no number: write a point before the decimals, and no mark between "
                f"thousands; or say that the column holds categories: --data.categorical=[{name}]"
            )
        if len(others) < FEW * len(known):
            row, cell = others[0]
            raise DataError(
                f"{row.source}: {cell!r} in column {name!r}, where {len(known) - len(others):,} of {len(known):,} cells are "
                f"numbers; mend or empty it, or say that the column holds categories: --data.categorical=[{name}]"
            )
        return False

    def advice(self, wrong: list[str]) -> str | None:
        if not (match := NEW_CATEGORY.search("\n".join(wrong))):
            return None
        return (
            "for categories that training does not have, --model.transform.others=unknown; for a column that is different in "
            f"every row, --data.leave_out=[{match[1]}]"
        )

    def example_of(self, row: Row, numeric: set[str]) -> Example:
        cells = {name: cell.strip() for name, cell in row.cells.items() if name not in self.leave_out}
        truth = cells.pop(self.label)
        return self.example({name: as_json(cell, name in numeric) for name, cell in cells.items()}, truth, row.source)

    def example(self, inputs: dict[str, Any], truth: Any, source: str) -> Example:
        return Example(body(inputs), self.truth_of(truth, source), source, SUFFIX)

    def truth_of(self, given: Any, source: str) -> Any:
        return str(given)

    def fit(self, transform: TableTransform) -> None:
        """Learn each number's mean and standard deviation, and each column's categories, from training and validation."""
        rows = [inputs_of(parsed(example.read())) for name in ("train", "validation") for example in self.splits[name]]
        columns = {name: [row[name] for row in rows if row[name] is not None] for name in rows[0]}
        for name, values in columns.items():
            if values and all(isinstance(value, int | float) for value in values):
                transform.numbers[name] = mean_and_deviation(values)
            else:
                transform.categories[name] = sorted({str(value) for value in values})


class RegressionCSV(TableCSV):
    """As `TableCSV`, for a label that is a number."""

    fewest_labels = 0

    def truth_of(self, given: Any, source: str) -> dict[str, float]:
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
    """Trips on foot, by bicycle, bus or car that `train/data/synthetic/trips.py` makes. Or CSV.

    Args:
        count: for training; a quarter as many more are for testing.
    """

    built_in_options = ("count",)

    def __init__(self, *args: Any, count: int = 4_000, **options: Any):
        super().__init__(*args, **options)
        self.count = count

    def built_in(self) -> Splits:
        first, tested = 1_000_000 * self.seed, max(1, self.count // 4)
        trips = [trip(first + index) for index in range(self.count + tested)]
        examples = [self.example(row, mode, f"made-up trip {index}") for index, (row, mode, _) in enumerate(trips)]
        return {"train": examples[: self.count], "test": examples[self.count :]}


class SklearnTable(TableCSV):
    """The base of the tables that come with scikit-learn. Or CSV."""

    load_table: Callable  # -> the table, as scikit-learn gives it

    def built_in(self) -> Splits:
        return {"train": [self.example(*row) for row in self.table_rows()]}

    def table_rows(self) -> Iterator[tuple[dict[str, float], Any, str]]:
        """(row, truth, source) for each row of the table."""
        table = self.load_table()
        names = [str(name) for name in table.feature_names]
        labels = getattr(table, "target_names", None)
        source = f"scikit-learn's {self.load_table.__name__.removeprefix('load_')}"
        for index, (values, target) in enumerate(zip(table.data.tolist(), table.target.tolist(), strict=True)):
            truth = target if labels is None else str(labels[target])
            yield dict(zip(names, values, strict=True)), truth, f"{source}: {index}"


class BreastCancer(SklearnTable):
    """569 tumours, malignant or benign, by 30 measures of their cells. Or CSV."""

    load_table = staticmethod(datasets.load_breast_cancer)


class Wine(SklearnTable):
    """178 wines of three growers by 13 measures. Or CSV."""

    load_table = staticmethod(datasets.load_wine)


class Diabetes(RegressionCSV, SklearnTable):
    """442 people by ten measures; the label says how far their disease went in a year, 25 to 346. Or CSV."""

    load_table = staticmethod(datasets.load_diabetes)


def as_json(cell: str, is_numeric: bool) -> Any:
    """A cell as a request would hold it. A text in a numeric column stays a text, so that decoding refuses it with its line."""
    if not cell or (is_numeric and cell.lower() in UNKNOWN):
        return None
    number = as_number(cell) if is_numeric else None
    return cell if number is None else number


def as_number(text: str) -> float | None:
    """None if it is not a finite number."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def mean_and_deviation(values: list[float]) -> tuple[float, float]:
    """Mean and standard deviation; the deviation of a constant is 1, since samples are divided by it."""
    return float(np.mean(values)), float(np.std(values)) or 1.0
