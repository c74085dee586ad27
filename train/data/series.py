"""Series of numbers: made-up demand, and any CSV with a column of values. The beginning trains, the end is for testing.

Knows nothing of how a series becomes a network's input, but for the statistics that it hands to the transform:
`model_defs/sequence.py` decodes.
"""

import math
import random
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from model_defs.json_input import SUFFIX, body
from model_defs.sequence import SeriesTransform
from train.data.csv_rows import records
from train.data.examples import DOWNLOADS, DataError, Example, Examples
from train.data.synthetic.demand import DAY, demand

ValueTargets = list[float]


class SeriesCSV(Examples):
    """A CSV file, or a folder of them: a value a row at equal distances in time, the oldest first. Each file is a series, or each
    name in its column of names.

    An example is a stretch of a series and the steps after it. The last fifth of every series is for testing, and `validation` of
    what is before it chooses the epoch.

    Args:
        value: the column of values.
        name: the column of the series' names, if there is one.
        season: values in a season: 24 for hours and days.
        history: values that the network sees at most.
        horizon: steps that it forecasts.
        stride: values between an example and the next.
    """

    FEWEST_LABELS = 0
    TESTED = 0.2  # of each series

    def __init__(
        self,
        root: str = DOWNLOADS,
        value: str = "value",
        name: str = "series",
        season: int = DAY,
        history: int = 96,
        horizon: int = DAY,
        stride: int = 6,
        **options: Any,
    ):
        super().__init__(root, **options)
        if not 0 < season <= history or min(horizon, stride) < 1:
            raise DataError(
                f"season={season} history={history} horizon={horizon} stride={stride}: a history holds a season or more"
            )
        self.value, self.name = value, name
        self.season, self.history, self.horizon, self.stride = season, history, horizon, stride

    def series(self) -> dict[str, ValueTargets]:
        """Each series' values by its name, for messages.

        Raises:
            DataError: no CSV, no such column, or a value that is no number.
        """
        if not self.root.exists():
            raise DataError(f"{self.root}: no such file or folder; say where the data lies with DATA=<file or folder>")
        files = sorted(self.root.glob("*.csv")) if self.root.is_dir() else [self.root]
        found: dict[str, ValueTargets] = defaultdict(list)
        for file in files:
            for name, value in self.values(file):
                found[name].append(value)
        if not found:
            raise DataError(f"{self.root}: no series; a CSV file with a column {self.value!r} is expected")
        return found

    def values(self, file: Path) -> Iterator[tuple[str, float]]:
        lines = records(file)
        first, header = next(lines, (1, []))
        if self.value not in header:
            raise DataError(f"{file}:{first}: no column {self.value!r}; the header is {','.join(header) or 'missing'}")
        for line, fields in lines:
            if len(fields) != len(header):
                raise DataError(f"{file}:{line}: {len(fields)} fields; the header has {len(header)}")
            row = dict(zip(header, fields, strict=True))
            try:
                value = float(row[self.value])
            except ValueError:
                value = math.nan
            if not math.isfinite(value):
                raise DataError(f"{file}:{line}: the {self.value} is {row[self.value]!r}; fill gaps, say with the value before")
            yield f"{file}: {row[self.name]}" if self.name in row else str(file), value

    def read(self) -> dict[str, list[Example]]:
        splits: dict[str, list[Example]] = {"train": [], "validation": [], "test": []}
        self.known: list[ValueTargets] = []  # what the network may know of the numbers
        for name, values in self.series().items():
            tested = round((1 - self.TESTED) * len(values))
            validated = round((1 - self.validation) * tested)
            self.known.append(values[:validated])
            for split, start, end in (("train", 0, validated), ("validation", validated, tested), ("test", tested, len(values))):
                splits[split] += self.cut(name, values, start, end)
        for split, examples in splits.items():
            if not examples:
                needed = self.season + math.ceil(self.horizon / min(self.TESTED, self.validation * (1 - self.TESTED)))
                raise DataError(f"{self.root}: too short for the {split} split; {needed:,} values of a series are needed")
        return splits

    def cut(self, name: str, values: ValueTargets, start: int, end: int) -> Iterator[Example]:
        """The examples whose forecasts lie in values[start:end]; what is known may lie before. Their lengths differ."""
        chance = random.Random(f"{self.seed} {name} {start}")
        for now in range(max(start, self.season), end - self.horizon + 1, self.stride):
            known = values[max(0, now - chance.randint(self.season, self.history)) : now]
            naive = [known[len(known) - self.season + step % self.season] for step in range(self.horizon)]
            truth = {"forecast": values[now : now + self.horizon], "seasonal_naive": naive}
            yield Example(body(known), truth, f"{name}: value {now + 1}", SUFFIX)

    def labels_of(self, truth: dict) -> set[str]:
        return set()

    def fit(self, transform: SeriesTransform) -> None:
        changes = [np.subtract(values[self.season :], values[: -self.season]) for values in self.known]
        transform.mean = float(np.mean(np.concatenate(self.known)))
        transform.deviation = float(np.std(np.concatenate(changes))) or 1.0
        transform.season, transform.history, transform.horizon = self.season, self.history, self.horizon


class Demand(SeriesCSV):
    """Hourly demand that `train/data/synthetic/demand.py` makes up; or CSV.

    Args:
        count: series.
        length: hours in each.
    """

    def __init__(self, root: str = DOWNLOADS, count: int = 40, length: int = 1_000, **options: Any):
        super().__init__(root, **options)
        self.count, self.length = count, length

    def series(self) -> dict[str, ValueTargets]:
        if self.root != Path(DOWNLOADS):
            return super().series()
        first = 1_000_000 * self.seed
        return {f"made-up demand {seed}": demand(first + seed, self.length) for seed in range(self.count)}
