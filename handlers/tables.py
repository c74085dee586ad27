"""Rows of tables: the handlers of table classifiers and regressors."""

import msgspec
from torch import Tensor

from handlers.base import Handler
from handlers.classifier import TARGET, Classifier
from handlers.explain.methods import FORWARDS, GRADIENTS, METHODS
from handlers.explain.parameters import parameters
from handlers.explain.subject import Subject
from handlers.explain.tables import BASELINES, RowSubject
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

    ExplanationParameters = parameters("TableClassifier", [*GRADIENTS, *FORWARDS], METHODS, BASELINES, TARGET)
    explains = RowSubject
    takes_backgrounds = True


class RegressorParameters(msgspec.Struct, forbid_unknown_fields=True):
    """A regressor has no parameters."""


class TableRegressor(Handler):
    """A row -> `{"value": 151.3}`, in the unit of the training data."""

    accepts = ROW
    Parameters = RegressorParameters
    Prediction = Value
    takes_backgrounds = True
    ExplanationParameters = parameters("TableRegressor", [*GRADIENTS, *FORWARDS], METHODS, BASELINES, "")

    def postprocess(self, output: Tensor, sample: TableRow, request: Request) -> dict[str, float]:
        return postprocess.value(output)

    def subject(self, output: Tensor, sample: TableRow, request: Request) -> Subject:
        """The value; the answer begins with it."""
        head = postprocess.value(output)
        return RowSubject(self, sample, request, lambda values: values[:, 0], head, head["value"])
