"""Tables: the transform from a row, a JSON object, to numbers and numbered categories, and the network that reads them.

Knows nothing of where rows come from, of labels' names, or of HTTP.
"""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from model_defs.build import did_you_mean
from model_defs.errors import WrongValue
from model_defs.json_input import JsonTransform, number, shape
from model_defs.postprocess import check

UNKNOWN = 0  # the place of what a category is not told to be


class TableRow(NamedTuple):
    """A row as the network takes it.

    Args:
        numbers: (numeric columns,) float32, in deviations from training's mean.
        categories: (categorical columns,) int64: each column's place, 0 for unknown.
    """

    numbers: Tensor
    categories: Tensor


class TableTransform(JsonTransform):
    """A row, `{"age": 31, "job": "nurse"}` -> `TableRow`.

    Every column must be there; `null` says that a value is not known: it stands for a number's mean, or for a category of its
    own.

    Args:
        others: what becomes of a category that training never saw: "refuse" it, or take it for "unknown".
        clip: a number further from the mean than so many deviations counts as so far.
    """

    FILE = "columns.json"

    def __init__(self, others: Literal["refuse", "unknown"] = "refuse", clip: float = 10.0):
        if others not in ("refuse", "unknown"):
            raise ValueError(f"others {others!r} is neither 'refuse' nor 'unknown'")
        self.others, self.clip = others, clip
        self.numbers: dict[str, tuple[float, float]] = {}  # mean and deviation
        self.categories: dict[str, list[str]] = {}
        self.target: tuple[float, float] | None = None  # of what is to be told, where that is a number

    def read(self, value: Any) -> TableRow:
        """
        Raises:
            WrongValue: not an object, a column missing or unknown, a value of another kind, or a category never seen.
        """
        columns = [*self.numbers, *self.categories]
        if not isinstance(value, dict):
            raise WrongValue(f"the row is {shape(value)}; send an object with the columns {', '.join(columns)}")
        for name in value:
            if name not in columns:
                raise WrongValue(f"the row has no column {name!r}{did_you_mean(name, columns)}")
        missing = [name for name in columns if name not in value]
        if missing:
            raise WrongValue(f"the row lacks {', '.join(map(repr, missing))}; send every column, null where its value is unknown")
        return TableRow(
            torch.tensor([self.scaled(name, value[name]) for name in self.numbers], dtype=torch.float32),
            torch.tensor([self.place(name, value[name]) for name in self.categories], dtype=torch.int64),
        )

    def scaled(self, name: str, value: Any) -> float:
        """A number in deviations from its mean."""
        if value is None:
            return 0.0
        mean, deviation = self.numbers[name]
        return min(max((number(value, repr(name)) - mean) / deviation, -self.clip), self.clip)

    def place(self, name: str, value: Any) -> int:
        known = self.categories[name]
        if value is None:
            return UNKNOWN
        if not isinstance(value, str):
            raise WrongValue(f"{name!r} is {shape(value)}; send text: a category{did_you_mean('', known)}")
        if value in known:
            return 1 + known.index(value)
        if self.others == "unknown":
            return UNKNOWN
        raise WrongValue(f"{name!r} has no category {value!r}{did_you_mean(value, known)}; null stands for an unknown one")

    def without(self, entry: TableRow, column: int) -> TableRow:
        """The same row with one column's value unknown; the numeric columns are counted first."""
        numbers, categories = entry.numbers.clone(), entry.categories.clone()
        if column < len(numbers):
            numbers[column] = 0.0
        else:
            categories[column - len(numbers)] = UNKNOWN
        return TableRow(numbers, categories)

    def collate(self, samples: list[TableRow]) -> tuple[Tensor, ...]:
        """-> numbers (B, numeric columns), and categories (B, categorical columns) where there are such columns."""
        numbers, categories = (torch.stack(column) for column in zip(*samples, strict=True))
        return (numbers, categories) if self.categories else (numbers,)

    def facts(self) -> dict:
        mean, deviation = self.target or (0.0, 1.0)
        sizes = [1 + len(known) for known in self.categories.values()]
        return {"numbers": len(self.numbers), "categories": sizes, "mean": mean, "deviation": deviation}

    def save(self, folder: Path) -> None:
        learned = {"numbers": self.numbers, "categories": self.categories, "target": self.target}
        (folder / self.FILE).write_text(json.dumps(learned, indent=1, ensure_ascii=False), encoding="utf-8")

    def load(self, folder: Path) -> None:
        learned = json.loads((folder / self.FILE).read_text(encoding="utf-8"))
        self.numbers = {name: tuple(statistics) for name, statistics in learned["numbers"].items()}
        self.categories, self.target = learned["categories"], learned["target"] and tuple(learned["target"])


class MLPClassifier(nn.Module):
    """A multi-layer perceptron over a row's numbers and the embeddings of its categories.

    (B, numbers) float32 and (B, len(categories)) int64 -> (B, num_classes) logits.

    Args:
        numbers: numeric columns.
        categories: of each categorical column, how many places it has; the first stands for unknown.
        dim: of a category's embedding.
        width, depth: of the hidden layers.
    """

    def __init__(
        self,
        num_classes: int,
        numbers: int | None = None,
        categories: list[int] | None = None,
        dim: int = 8,
        width: int = 64,
        depth: int = 2,
        dropout: float = 0.1,
    ):
        super().__init__()
        sizes = categories or []
        starts = [sum(sizes[:place]) for place in range(len(sizes))]
        self.register_buffer("starts", torch.tensor(starts, dtype=torch.int64), persistent=False)
        if sizes:
            self.embedding = nn.Embedding(sum(sizes), dim)
            nn.init.zeros_(self.embedding.weight)  # so that a category which training never met says nothing
        widths = [(numbers or 0) + dim * len(sizes), *[width] * depth]
        hidden = [(nn.Linear(*pair), nn.ReLU(), nn.Dropout(dropout)) for pair in pairwise(widths)]
        self.layers = nn.Sequential(*(layer for layers in hidden for layer in layers), nn.Linear(widths[-1], num_classes))

    def forward(self, numbers: Tensor, categories: Tensor | None = None) -> Tensor:
        if categories is None:
            return self.layers(numbers)
        embedded = self.embedding(categories + self.starts).flatten(1)  # (B, columns, dim) -> (B, columns * dim)
        return self.layers(torch.cat([numbers, embedded], dim=1))


class MLPRegressor(nn.Module):
    """A Perceptron whose one output is a number in the unit of the data.

    (B, numbers) and (B, len(categories)) -> (B, 1).

    Args:
        mean, deviation: of that number in training.
        options: the Perceptron's.
    """

    def __init__(
        self,
        numbers: int | None = None,
        categories: list[int] | None = None,
        mean: float | None = None,
        deviation: float | None = None,
        options: dict[str, Any] | None = None,
    ):
        super().__init__()
        self.mean, self.deviation = mean or 0.0, deviation or 1.0
        self.perceptron = MLPClassifier(1, numbers, categories, **(options or {}))

    def forward(self, numbers: Tensor, categories: Tensor | None = None) -> Tensor:
        return self.mean + self.deviation * self.perceptron(numbers, categories)


def value(output: Tensor) -> dict[str, float]:
    """(1,) -> `{"value"}`.

    Raises:
        OutputError: it is not a finite number.
    """
    check(output)
    return {"value": float(output)}
