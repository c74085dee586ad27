"""Rows of tables: one class a task."""

import msgspec
from torch import Tensor

from handlers.base import Handler
from handlers.classifier import Classifier
from handlers.request import Kind, Request
from model_defs import table

ROW = Kind(
    "a row of a table",
    ("text/",),
    """send its columns as JSON: curl --json '{"inputs": {"age": 31, "job": "nurse"}}' URL""",
    is_json=True,
)


class TableClassifier(Classifier):
    """A row -> its labels, best first."""

    accepts = ROW

    def attributions(self, sample: table.TableRow, request: Request, target: int) -> dict:
        """`{"columns": [{"column", "weight"}, ...]}`: how far the label's score falls when a column's value is unknown."""
        from handlers import explain  # Captum takes a second to import, and most workers never explain

        columns = [*self.transform.numbers, *self.transform.categories]

        def score(kept: list[list[int]]) -> Tensor:
            rows = []
            for places in kept:
                row = sample
                for place in set(range(len(columns))) - set(places):
                    row = self.transform.without(row, place)
                rows.append(row)
            return self.scores(rows, target)

        weights = explain.parts(score, len(columns))
        return {"columns": [{"column": name, "weight": weight} for name, weight in zip(columns, weights, strict=True)]}


class RegressorParameters(msgspec.Struct, forbid_unknown_fields=True):
    """A regressor has nothing that a caller could choose."""


class TableRegressor(Handler):
    """A row -> `{"value": 151.3}`, in the unit of the training data."""

    accepts = ROW
    Parameters = RegressorParameters

    def postprocess(self, output: Tensor, sample: table.TableRow, request: Request) -> dict[str, float]:
        return table.value(output)
