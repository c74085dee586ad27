"""Time series: the handler of forecasters."""

from typing import Annotated

import msgspec
from msgspec import Meta
from torch import Tensor

from handlers.base import Handler
from handlers.explain.methods import FORWARDS, METHODS
from handlers.explain.parameters import parameters
from handlers.explain.series import BASELINES, SeriesSubject, step_of
from handlers.explain.subject import Subject
from handlers.predictions import Forecast
from handlers.request import Kind, Request
from model_defs import postprocess
from model_defs.errors import WrongValue

SERIES = Kind(
    "a series of numbers",
    ("text/",),
    """send it as JSON, the oldest first: curl --json '{"inputs": [3.1, 2.9], "parameters": {"horizon": 24}}' URL""",
    is_json=True,
    is_list=True,
    tensors="series",
)


class ForecasterParameters(msgspec.Struct, forbid_unknown_fields=True):
    """A forecaster's parameters."""

    horizon: Annotated[int, Meta(ge=1, description="how many steps ahead")] | None = None  # None: all that the model forecasts


class Forecaster(Handler):
    """A series -> `{"forecast": [...]}`, its next values, in the unit of the series."""

    accepts = SERIES
    Parameters = ForecasterParameters
    Prediction = Forecast
    ExplanationParameters = parameters(
        "Forecaster",
        ["integrated_gradients", "noise_tunnel", *FORWARDS],
        METHODS,
        BASELINES,
        "the step, from 1; null: the mean of all steps",
    )

    def preprocess(self, request: Request) -> Tensor:
        """
        Raises:
            WrongValue: a longer horizon than the model has.
        """
        most, wanted = self.transform.horizon, None if request.explain else request.parameters.horizon
        if wanted and wanted > most:
            raise WrongValue(f"horizon {wanted:,}; this model forecasts {most} steps at most")
        return super().preprocess(request)

    def postprocess(self, output: Tensor, sample: Tensor, request: Request) -> dict[str, list[float]]:
        return postprocess.forecast(output, request.parameters.horizon)

    def subject(self, output: Tensor, sample: Tensor, request: Request) -> Subject:
        """A step of the forecast, or the mean of all; the answer begins with `{"forecast"}`."""
        step = step_of(request.parameters.target, len(output))

        def score(steps: Tensor) -> Tensor:  # (N, horizon) -> (N,)
            return steps.mean(1) if step is None else steps[:, step - 1]

        head = postprocess.forecast(output) | {"target": step}
        return SeriesSubject(self, sample, request, score, head, float(score(output[None])))
