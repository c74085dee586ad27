"""Rows of tables: the handlers of table classifiers and regressors."""

import msgspec
from torch import Tensor

from handlers.base import Handler
from handlers.classifier import Classifier
from handlers.predictions import Value
from handlers.request import Kind, Request
from model_defs import postprocess
from model_defs.table import TableRow

ROW = Kind(
    "a row of a table",
    ("text/",),
    """send its columns as JSON: curl --json '{"inputs": {"age": 31, "job": "nurse"}}' URL""",
    is_json=True,
    tensors="columns",
)


class TableClassifier(Classifier):
    """A row -> its labels, best first."""

    accepts = ROW

    def attributions(self, sample: TableRow, request: Request, target: int) -> dict:
        """`{"columns": [{"column", "weight"}, ...]}`: how much the score falls if a column's value is unknown."""
        columns = self.transform.columns
        weights = self.part_weights(sample, len(columns), self.transform.without, target)
        return {"columns": [{"column": name, "weight": weight} for name, weight in zip(columns, weights, strict=True)]}


class RegressorParameters(msgspec.Struct, forbid_unknown_fields=True):
    """A regressor has no parameters."""


class TableRegressor(Handler):
    """A row -> `{"value": 151.3}`, in the unit of the training data."""

    accepts = ROW
    Parameters = RegressorParameters
    Prediction = Value

    def postprocess(self, output: Tensor, sample: TableRow, request: Request) -> dict[str, float]:
        return postprocess.value(output)
