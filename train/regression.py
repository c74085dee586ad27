"""Learning to tell a number."""

from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from model_defs import postprocess
from model_defs.artifact import Sample
from train.targets import Targets
from train.task import Batch, Task


class ValueTargets(Targets):
    """`{"value": 3.5}` -> 3.5; a batch of them is (B,) float32."""

    def __call__(self, sample: Any, truth: dict[str, float]) -> tuple[Any, float]:
        return self.augment(sample) if self.augment else sample, truth["value"]

    def collate(self, targets: list[float]) -> Tensor:
        return torch.tensor(targets, dtype=torch.float32)


class Regression(Task):
    """One number, by a network that gives it in its own unit and knows its `deviation`."""

    targets = ValueTargets
    metrics = ("r2", "mean_absolute_error")

    def errors(self, batch: Batch) -> Tensor:
        """(B,): each in deviations of what is to be told."""
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

    def kind(self, sample: Sample) -> str:
        return sample.file

    def is_right(self, sample: Sample) -> bool:
        return abs(sample.answer["value"] - sample.truth["value"]) < self.network.deviation / 2

    def figures(self, answered: list[tuple[Sample, bytes]]) -> dict[str, Figure | None]:
        """What was told beside what is true."""
        truths, told = zip(*((sample.truth["value"], sample.answer["value"]) for sample, _ in answered), strict=True)
        figure = Figure(figsize=(5, 5))
        axes = figure.subplots()
        axes.scatter(truths, told, s=8)
        axes.axline((min(truths), min(truths)), slope=1, color="grey")
        axes.set(title="test set", xlabel="true", ylabel="told")
        return {"values.png": figure}


def huber(errors: Tensor) -> Tensor:
    """Huber's loss (Annals of Mathematical Statistics 35, 1964): the rows that nothing explains weigh less than with squares."""
    return nn.functional.huber_loss(errors, torch.zeros_like(errors))
