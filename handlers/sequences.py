"""Series of numbers: one class a task."""

from typing import Annotated

import msgspec
from msgspec import Meta
from torch import Tensor

from handlers.base import Handler
from handlers.request import Kind, Request
from model_defs import sequence
from model_defs.errors import WrongValue

SERIES = Kind(
    "a series of numbers",
    ("text/",),
    """send it as JSON, the oldest first: curl --json '{"inputs": [3.1, 2.9], "parameters": {"horizon": 24}}' URL""",
    is_json=True,
)


class ForecasterParameters(msgspec.Struct, forbid_unknown_fields=True):
    """What a caller may ask of a forecaster."""

    horizon: Annotated[int, Meta(ge=1, description="how many steps ahead")] | None = None  # as many as it was trained for


class Forecaster(Handler):
    """A series -> `{"forecast": [...]}`, how it goes on, in the unit of the series."""

    accepts = SERIES
    Parameters = ForecasterParameters

    def preprocess(self, request: Request) -> Tensor:
        most, wanted = self.transform.horizon, request.parameters.horizon
        if wanted and wanted > most:
            raise WrongValue(f"horizon {wanted:,}; this model forecasts {most} steps at most")
        return super().preprocess(request)

    def postprocess(self, output: Tensor, sample: Tensor, request: Request) -> dict[str, list[float]]:
        return sequence.forecast(output, request.parameters.horizon)
