"""Predict a number."""

from typing import Any, ClassVar

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from model_defs import postprocess
from model_defs.artifact import Sample
from train.targets import Targets
from train.task import Batch, Task


class ValueTargets(Targets):
    """`{"value": 3.5}` -> 3.5; a batch is (B,) float32."""

    def __call__(self, sample: Any, truth: dict[str, float]) -> tuple[Any, float]:
        return self.augment(sample) if self.augment else sample, truth["value"]

    def collate(self, targets: list[float]) -> Tensor:
        return torch.tensor(targets, dtype=torch.float32)


class Regression(Task):
    """One number per example. The network gives it in the unit of the data, and has its standard deviation as `deviation`."""

    targets = ValueTargets
    metrics = ("r2", "mean_absolute_error")
    monitors: ClassVar = {"train_loss": "min", "val_loss": "min", "val_error": "min"}

    def output_size(self) -> int:
        return 1

    def errors(self, batch: Batch) -> Tensor:
        """(B,): prediction minus truth, in standard deviations of the truth."""
        inputs, targets = batch
        return (self.network(*inputs).float()[:, 0] - targets) / self.network.deviation

    def training_step(self, batch: Batch, _: int) -> Tensor:
        loss = huber(self.errors(batch))
        self.log_all(batch, train_loss=loss)
        return loss

    def validation_step(self, batch: Batch, _: int) -> None:
        errors = self.errors(batch)
        self.log_all(batch, val_loss=huber(errors), val_error=errors.abs().mean())

    def answer(self, output: Tensor, sample: Any) -> dict[str, float]:
        return postprocess.value(output)

    def group(self, sample: Sample) -> str:
        return sample.file

    def is_correct(self, sample: Sample) -> bool:
        return abs(sample.answer["value"] - sample.truth["value"]) < self.network.deviation / 2

    def figures(self, answered: list[tuple[Sample, bytes]]) -> dict[str, Figure | None]:
        """Predictions over truths."""
        truths, predictions = zip(*((sample.truth["value"], sample.answer["value"]) for sample, _ in answered), strict=True)
        figure = Figure(figsize=(5, 5))
        axes = figure.subplots()
        axes.scatter(truths, predictions, s=8)
        axes.axline((min(truths), min(truths)), slope=1, color="grey")
        axes.set(title="test set", xlabel="true", ylabel="predicted")
        return {"values.png": figure}


def huber(errors: Tensor) -> Tensor:
    """Huber loss (Annals of Mathematical Statistics 35, 1964): outliers weigh less than in the mean squared error."""
    return nn.functional.huber_loss(errors, torch.zeros_like(errors))
