"""Learning what each pixel of a picture belongs to."""

from typing import Any

from torch import Tensor, nn
from torchmetrics.classification import MulticlassJaccardIndex

from model_defs import answers
from train.targets import VOID, LabelMap, framed
from train.task import Batch, Task


class Segmentation(Task):
    """A label for every pixel, or none."""

    targets = LabelMap
    metrics = ("mean_iou",)

    def setup(self, stage: str) -> None:
        super().setup(stage)
        self.loss = nn.CrossEntropyLoss(ignore_index=VOID)
        self.iou = MulticlassJaccardIndex(1 + len(self.labels), ignore_index=VOID)

    def training_step(self, batch: Batch, _: int) -> Tensor:
        (pixels,), targets = batch
        loss = self.loss(self.network(pixels), framed(targets, pixels.shape[2:], VOID).long())
        self.log_all(batch, train_loss=loss)
        return loss

    def validation_step(self, batch: Batch, _: int) -> None:
        (pixels,), targets = batch
        numbers = framed(targets, pixels.shape[2:], VOID).long()  # (B, H, W)
        logits = self.network(pixels).float()  # (B, 1 + num_classes, H, W)
        self.iou(logits, numbers)
        self.log_all(batch, val_loss=self.loss(logits, numbers), val_iou=self.iou)

    def answer(self, output: Tensor, sample: Any) -> list[dict]:
        return answers.masks(output, sample, self.labels)
