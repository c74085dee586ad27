"""Time series: synthetic demand, and any CSV with a column of values. The beginning trains, the end is for testing."""

import math
import random
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from model_defs.json_input import SUFFIX, body
from model_defs.sequence import SeriesTransform
from train.data.csv_rows import SUFFIX as CSV
from train.data.csv_rows import csv_rows, tell_unused
from train.data.example import DataError, Example
from train.data.examples import Examples
from train.data.folders import counted, is_hidden
from train.data.notes import tell, tell_left_out
from train.data.splits import TEST_SHARE, Splits
from train.data.synthetic.demand import DAY, demand

NAME = "series"  # the usual column of names
Values = list[float]


class SeriesCSV(Examples):
    """A CSV file, or a folder of them: one value per row at equal time steps, the oldest first. Each file is a series, or each
    name in its column of names.

    An example is a part of a series and the steps after it. The last fifth of every series is for testing, and the last part of
    the rest, `validation`, chooses the best epoch.

    Args:
        value: the column of values.
        name: the column with the series' names; by default `series`, if there is one.
        season: values per season: 24 for hours and days.
        history: values that the network sees at most.
        horizon: steps that it forecasts.
        stride: values between one example and the next.
    """

    fewest_labels = 0
    cuts_validation = True

    def __init__(
        self,
        *args: Any,
        value: str = "value",
        name: str | None = None,
        season: int = DAY,
        history: int = 96,
        horizon: int = DAY,
        stride: int = 6,
        **options: Any,
    ):
        super().__init__(*args, **options)
        if not 0 < season <= history or min(horizon, stride) < 1:
            raise DataError(
                f"season={season} history={history} horizon={horizon} stride={stride}: a history holds a season or more"
            )
        self.value, self.name = value, name
        self.season, self.history, self.horizon, self.stride = season, history, horizon, stride

    def read_root(self) -> Splits:
        """
        Raises:
            DataError: no CSV, no such column, a value that is not a number, or series that are too short.
        """
        if not self.root.exists():
            raise DataError(f"{self.root}: no such file or folder; say where the data lies with DATA=<file or folder>")
        entries = (
            [entry for entry in sorted(self.root.iterdir()) if not is_hidden(entry, self.root)] if self.root.is_dir() else []
        )
        files = [entry for entry in entries if entry.suffix.lower() == CSV] if self.root.is_dir() else [self.root]
        tell_left_out(counted(entry for entry in entries if entry not in files))
        found: dict[str, Values] = defaultdict(list)
        for file in files:
            for name, value in self.values(file, files[0]):
                found[name].append(value)
        if not found:
            raise DataError(f"{self.root}: no series; a CSV file with a column {self.value!r} is expected")
        return self.cut_all(found)

    def values(self, file: Path, first: Path) -> Iterator[tuple[str, float]]:
        """(name of the series, value) for each row. Of the first file it says which columns are left out."""
        name = self.name or NAME
        rows = list(csv_rows(file, [self.value, *([name] if self.name else [])], may_be_empty=True))
        if file == first:
            tell_unused(rows, [self.value, name])
        for row in rows:
            given = row.cells[self.value]
            try:
                value = float(given)
            except ValueError:
                value = math.nan
            if not math.isfinite(value):
                raise DataError(f"{row.source}: the {self.value} is {given!r}; fill gaps, say with the value before")
            yield f"{file}: {row.cells[name]}" if name in row.cells else str(file), value

    def cut_all(self, series: dict[str, Values]) -> Splits:
        """The examples of every series. Each split has its own part of a series, the oldest for training."""
        splits: Splits = {"train": [], "validation": [], "test": []}
        self.known: list[Values] = []  # the values that training may use
        short = 0
        for name, values in series.items():
            tested = round((1 - TEST_SHARE) * len(values))
            validated = round((1 - self.validation) * tested)
            self.known.append(values[:validated])
            parts = {"train": (0, validated), "validation": (validated, tested), "test": (tested, len(values))}
            cut = {split: list(self.cut(name, values, *part)) for split, part in parts.items()}
            short += not all(cut.values())
            for split, examples in cut.items():
                splits[split] += examples
        for split, examples in splits.items():
            if not examples:
                needed = self.season + math.ceil(self.horizon / min(TEST_SHARE, self.validation * (1 - TEST_SHARE)))
                where = self.root or type(self).__name__
                raise DataError(f"{where}: too short for the {split} split; {needed:,} values of a series are needed")
        if short:
            tell(f"{short:,} of {len(series):,} series are too short to be in all of training, validation and test")
        return splits

    def cut(self, name: str, values: Values, start: int, end: int) -> Iterator[Example]:
        """The examples whose forecasts lie in values[start:end]. Their histories may begin before `start`; their lengths differ
        at random, so that the network learns from short ones too."""
        chance = random.Random(f"{self.seed} {name} {start}")
        for now in range(max(start, self.season), end - self.horizon + 1, self.stride):
            known = values[max(0, now - chance.randint(self.season, self.history)) : now]
            naive = [known[len(known) - self.season + step % self.season] for step in range(self.horizon)]
            truth = {"forecast": values[now : now + self.horizon], "seasonal_naive": naive}
            yield Example(body(known), truth, f"{name}: value {now + 1}", SUFFIX)

    def labels_of(self, truth: dict) -> set[str]:
        return set()

    def fit(self, transform: SeriesTransform) -> None:
        """Learn the mean, the standard deviation of the seasonal differences, and the lengths."""
        changes = [np.subtract(values[self.season :], values[: -self.season]) for values in self.known]
        transform.mean = float(np.mean(np.concatenate(self.known)))
        transform.deviation = float(np.std(np.concatenate(changes))) or 1.0
        transform.season, transform.history, transform.horizon = self.season, self.history, self.horizon


class Demand(SeriesCSV):
    """Hourly demand that `train/data/synthetic/demand.py` makes. Or CSV.

    Args:
        count: series.
        length: hours in each.
    """

    built_in_options = ("count", "length")

    def __init__(self, *args: Any, count: int = 40, length: int = 1_000, **options: Any):
        super().__init__(*args, **options)
        self.count, self.length = count, length

    def built_in(self) -> Splits:
        first = 1_000_000 * self.seed
        return self.cut_all({f"made-up demand {index}": demand(first + index, self.length) for index in range(self.count)})
