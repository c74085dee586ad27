"""Predict a label for each pixel of a picture."""

from typing import Any, ClassVar

from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot
from torchmetrics.classification import MulticlassJaccardIndex

from model_defs import postprocess
from train.targets import VOID, MaskTargets, pad_maps
from train.task import Batch, Task


class Segmentation(Task):
    """A label per pixel, or the background."""

    targets = MaskTargets
    metrics = ("mean_iou",)
    monitors: ClassVar = {"train_loss": "min", "val_loss": "min", "val_iou": "max"}

    def setup(self, stage: str) -> None:
        super().setup(stage)
        self.iou = MulticlassJaccardIndex(1 + len(self.labels), ignore_index=VOID)

    def output_size(self) -> int:
        return 1 + len(self.labels)

    def training_step(self, batch: Batch, _: int) -> Tensor:
        (pixels,), targets = batch
        loss = segmentation_loss(self.network(pixels), pad_maps(targets, pixels.shape[2:], VOID).long())
        self.log_all(batch, train_loss=loss)
        return loss

    def validation_step(self, batch: Batch, _: int) -> None:
        (pixels,), targets = batch
        label_maps = pad_maps(targets, pixels.shape[2:], VOID).long()  # (B, H, W)
        logits = self.network(pixels).float()  # (B, 1 + num_classes, H, W)
        self.iou(logits, label_maps)
        self.log_all(batch, val_loss=segmentation_loss(logits, label_maps), val_iou=self.iou)

    def answer(self, output: Tensor, sample: Any) -> list[dict]:
        return postprocess.masks(output, sample, self.labels)


def segmentation_loss(logits: Tensor, label_maps: Tensor) -> Tensor:
    """Cross-entropy, plus one minus the mean Dice coefficient of the labels (arXiv 1606.04797). In the latter a label of few
    pixels counts as much as the background. VOID pixels are ignored.

    Args:
        logits: (B, 1 + num_classes, H, W).
        label_maps: (B, H, W) int64.
    """
    is_known = label_maps != VOID
    truth = (
        one_hot(label_maps.where(is_known, 0), logits.shape[1]).movedim(3, 1) * is_known[:, None]
    )  # (B, 1 + num_classes, H, W)
    shares = logits.softmax(1) * is_known[:, None]
    both, all_of = (shares * truth).sum((0, 2, 3)), (shares + truth).sum((0, 2, 3))
    dice = (2 * both + 1) / (all_of + 1)
    return cross_entropy(logits, label_maps, ignore_index=VOID) + 1 - dice.mean()
