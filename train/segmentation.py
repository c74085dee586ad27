"""Learning what each pixel of a picture belongs to."""

from typing import Any

from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot
from torchmetrics.classification import MulticlassJaccardIndex

from model_defs import postprocess
from train.targets import VOID, MaskTargets, framed
from train.task import Batch, Task


class Segmentation(Task):
    """A label for every pixel, or none."""

    targets = MaskTargets
    metrics = ("mean_iou",)

    def setup(self, stage: str) -> None:
        super().setup(stage)
        self.iou = MulticlassJaccardIndex(1 + len(self.labels), ignore_index=VOID)

    def training_step(self, batch: Batch, _: int) -> Tensor:
        (pixels,), targets = batch
        loss = segmentation_loss(self.network(pixels), framed(targets, pixels.shape[2:], VOID).long())
        self.log_all(batch, train_loss=loss)
        return loss

    def validation_step(self, batch: Batch, _: int) -> None:
        (pixels,), targets = batch
        numbers = framed(targets, pixels.shape[2:], VOID).long()  # (B, H, W)
        logits = self.network(pixels).float()  # (B, 1 + num_classes, H, W)
        self.iou(logits, numbers)
        self.log_all(batch, val_loss=segmentation_loss(logits, numbers), val_iou=self.iou)

    def answer(self, output: Tensor, sample: Any) -> list[dict]:
        return postprocess.masks(output, sample, self.labels)


def segmentation_loss(logits: Tensor, numbers: Tensor) -> Tensor:
    """Cross-entropy, and one minus the mean Dice coefficient of the labels (arXiv 1606.04797), for which a label of few pixels
    counts as much as the background. Pixels that are VOID count for neither.

    Args:
        logits: (B, 1 + num_classes, H, W).
        numbers: (B, H, W) int64.
    """
    is_known = numbers != VOID
    truth = one_hot(numbers.where(is_known, 0), logits.shape[1]).movedim(3, 1) * is_known[:, None]  # (B, 1 + num_classes, H, W)
    shares = logits.softmax(1) * is_known[:, None]
    both, all_of = (shares * truth).sum((0, 2, 3)), (shares + truth).sum((0, 2, 3))
    dice = (2 * both + 1) / (all_of + 1)
    return cross_entropy(logits, numbers, ignore_index=VOID) + 1 - dice.mean()
