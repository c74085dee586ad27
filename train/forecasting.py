"""Forecast the next steps of a time series."""

from typing import Any, ClassVar

import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn.functional import l1_loss

from model_defs import postprocess
from model_defs.artifact import Sample
from model_defs.json_input import inputs_of, parsed
from model_defs.metrics import measure
from train.targets import Targets
from train.task import Batch, Task

SHOWN = 6  # forecasts in the report


class ForecastTargets(Targets):
    """`{"forecast": [...], "seasonal_naive": [...]}` -> both, (2, horizon); a batch is (B, 2, horizon) float32."""

    def __call__(self, sample: Tensor, truth: dict[str, list[float]]) -> tuple[Tensor, list[list[float]]]:
        return self.augment(sample) if self.augment else sample, [truth["forecast"], truth["seasonal_naive"]]

    def collate(self, targets: list) -> Tensor:
        return torch.tensor(targets, dtype=torch.float32)


class Forecasting(Task):
    """The next steps of a series. The network gives them in the unit of the data, and has the standard deviation of the seasonal
    differences as `deviation`."""

    targets = ForecastTargets
    metrics = ("relative_error", "mean_absolute_error", "seasonal_naive_error")
    monitors: ClassVar = {"train_loss": "min", "val_loss": "min", "val_relative_error": "min"}

    def errors(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The mean absolute errors of the network and of the seasonal-naive forecast, in units of `deviation`."""
        inputs, targets = batch
        truth, naive = targets.unbind(1)  # (B, horizon) each
        scale = self.network.deviation
        return l1_loss(self.network(*inputs).float() / scale, truth / scale), l1_loss(naive / scale, truth / scale)

    def training_step(self, batch: Batch, _: int) -> Tensor:
        loss, _ = self.errors(batch)
        self.log_all(batch, train_loss=loss)
        return loss

    def validation_step(self, batch: Batch, _: int) -> None:
        loss, naive = self.errors(batch)
        self.log_all(batch, val_loss=loss, val_relative_error=loss / naive)

    def answer(self, output: Tensor, sample: Any) -> dict[str, list[float]]:
        return postprocess.forecast(output)

    def group(self, sample: Sample) -> str:
        return sample.file

    def is_correct(self, sample: Sample) -> bool:
        return measure("relative_error")([sample.answer], [sample.truth]) < 1

    def figures(self, answered: list[tuple[Sample, bytes]]) -> dict[str, Figure | None]:
        """Some histories with their true continuation and the two forecasts."""
        chosen = answered[:: max(1, len(answered) // SHOWN)][:SHOWN]
        figure = Figure(figsize=(12, 2.4 * -(-len(chosen) // 2)))
        for axes in figure.subplots(-(-len(chosen) // 2), 2, squeeze=False).flat:
            axes.set_axis_off()
        for axes, (sample, payload) in zip(figure.axes, chosen, strict=False):
            axes.set_axis_on()
            known = inputs_of(parsed(payload))
            axes.plot(range(-len(known), 0), known, color="grey")
            for name, values, style in (
                ("true", sample.truth["forecast"], "k-"),
                ("seasonal naive", sample.truth["seasonal_naive"], "C1:"),
                ("forecast", sample.answer["forecast"], "C0-"),
            ):
                axes.plot(values, style, label=name)
        figure.axes[0].legend()
        return {"forecasts.png": figure}
