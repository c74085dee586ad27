"""Tables: the transform from a row, a JSON object, to scaled numbers and category ids, and MLPs for them."""

import json
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from model_defs.build import did_you_mean
from model_defs.errors import WrongValue
from model_defs.json_input import JsonTransform, described, finite_number

UNKNOWN = 0  # the id of an unknown category


class TableRow(NamedTuple):
    """A row as the network takes it.

    Args:
        numbers: (numeric columns,) float32, in standard deviations from the training data's mean.
        categories: (categorical columns,) int64: category ids, 0 for unknown.
    """

    numbers: Tensor
    categories: Tensor


class TableTransform(JsonTransform):
    """A row, `{"age": 31, "job": "nurse"}` -> `TableRow`.

    Every column is required. `null` is an unknown value: the mean of a number, or the unknown category.

    The transform learns each numeric column's mean and standard deviation, and each categorical column's categories.

    Args:
        others: what to do with a category that training did not have: "refuse" it, or take it as "unknown".
        clip: scaled numbers are clipped to this many standard deviations.
    """

    FILE = "columns.json"

    def __init__(self, others: Literal["refuse", "unknown"] = "refuse", clip: float = 10.0):
        if others not in ("refuse", "unknown"):
            raise ValueError(f"others {others!r} is neither 'refuse' nor 'unknown'")
        self.others, self.clip = others, clip
        self.numbers: dict[str, tuple[float, float]] = {}  # column -> mean and standard deviation
        self.categories: dict[str, list[str]] = {}  # column -> categories, in the order of their ids from 1 on
        self.target: tuple[float, float] | None = None  # mean and standard deviation of the target, for regression

    def to_sample(self, value: Any) -> TableRow:
        """
        Raises:
            WrongValue: not an object, a missing or unknown column, a value of another type, or an unknown category.
        """
        columns = self.columns
        if not isinstance(value, dict):
            raise WrongValue(f"the row is {described(value)}; send an object with the columns {', '.join(columns)}")
        for name in value:
            if name not in columns:
                raise WrongValue(f"the row has no column {name!r}{did_you_mean(name, columns)}")
        missing = [name for name in columns if name not in value]
        if missing:
            raise WrongValue(f"the row lacks {', '.join(map(repr, missing))}; send every column, null where its value is unknown")
        return TableRow(
            torch.tensor([self.scaled(name, value[name]) for name in self.numbers], dtype=torch.float32),
            torch.tensor([self.category_id(name, value[name]) for name in self.categories], dtype=torch.int64),
        )

    def scaled(self, name: str, value: Any) -> float:
        """A number in standard deviations from its column's mean."""
        if value is None:
            return 0.0
        mean, deviation = self.numbers[name]
        return min(max((finite_number(value, repr(name)) - mean) / deviation, -self.clip), self.clip)

    def category_id(self, name: str, value: Any) -> int:
        known = self.categories[name]
        if value is None:
            return UNKNOWN
        if not isinstance(value, str):
            raise WrongValue(f"{name!r} is {described(value)}; send text: a category{did_you_mean('', known)}")
        if value in known:
            return 1 + known.index(value)
        if self.others == "unknown":
            return UNKNOWN
        raise WrongValue(f"{name!r} has no category {value!r}{did_you_mean(value, known)}; null stands for an unknown one")

    @property
    def columns(self) -> list[str]:
        """The columns' names: first the numeric ones, then the categorical ones."""
        return [*self.numbers, *self.categories]

    def schema(self) -> dict[str, Any]:
        numbers = {name: {"type": ["number", "null"]} for name in self.numbers}
        is_open = self.others == "unknown"
        texts = {
            name: {"type": ["string", "null"]} | ({} if is_open else {"enum": [*known, None]})
            for name, known in self.categories.items()
        }
        return {"type": "object", "properties": numbers | texts, "required": self.columns, "additionalProperties": False}

    def without(self, sample: TableRow, columns: Iterable[int]) -> TableRow:
        """The same row with the values of these columns unknown. An index is that of the column in `columns`."""
        numbers, categories = sample.numbers.clone(), sample.categories.clone()
        for column in columns:
            if column < len(numbers):
                numbers[column] = 0.0
            else:
                categories[column - len(numbers)] = UNKNOWN
        return TableRow(numbers, categories)

    def collate(self, samples: list[TableRow]) -> tuple[Tensor, ...]:
        """-> numbers (B, numeric columns), and categories (B, categorical columns) if there are such columns."""
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
        numbers: how many numeric columns there are.
        categories: for each categorical column, how many ids it has, including the unknown one.
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
        starts = [sum(sizes[:column]) for column in range(len(sizes))]  # one embedding table holds all columns
        self.register_buffer("starts", torch.tensor(starts, dtype=torch.int64), persistent=False)
        if sizes:
            self.embedding = nn.Embedding(sum(sizes), dim)
            nn.init.zeros_(self.embedding.weight)  # a category that training never sees stays neutral
        widths = [(numbers or 0) + dim * len(sizes), *[width] * depth]
        hidden = [(nn.Linear(*pair), nn.ReLU(), nn.Dropout(dropout)) for pair in pairwise(widths)]
        self.layers = nn.Sequential(*(layer for layers in hidden for layer in layers), nn.Linear(widths[-1], num_classes))

    def forward(self, numbers: Tensor, categories: Tensor | None = None) -> Tensor:
        return self.layers(self.embed(numbers, categories))

    def embed(self, numbers: Tensor, categories: Tensor | None = None) -> Tensor:
        """-> (B, numbers + columns * dim). Explanations begin after it."""
        if categories is None:
            return numbers
        embedded = self.embedding(categories + self.starts).flatten(1)  # (B, columns, dim) -> (B, columns * dim)
        return torch.cat([numbers, embedded], dim=1)

    def from_embedded(self, embedded: Tensor) -> Tensor:
        """The rest of `forward`."""
        return self.layers(embedded)


class MLPRegressor(nn.Module):
    """An MLP with one output, a number in the unit of the data.

    (B, numbers) float32 and (B, len(categories)) int64 -> (B, 1).

    Args:
        numbers, categories: see `MLPClassifier`.
        mean, deviation: of the target in the training data.
        options: other arguments of `MLPClassifier`.
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
        return self.from_embedded(self.embed(numbers, categories))

    def embed(self, numbers: Tensor, categories: Tensor | None = None) -> Tensor:
        return self.perceptron.embed(numbers, categories)

    def from_embedded(self, embedded: Tensor) -> Tensor:
        return self.mean + self.deviation * self.perceptron.from_embedded(embedded)
