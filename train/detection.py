"""Find objects in a picture: their boxes, and their masks. The losses are those of the networks."""

from typing import Any, ClassVar

from torch import Tensor
from torchmetrics.detection import MeanAveragePrecision

from model_defs import postprocess
from train.targets import BoxTargets, InstanceTargets, pad_maps
from train.task import Batch, Task


class Detection(Task):
    """A box per object."""

    targets = BoxTargets
    metrics = ("mean_average_precision", "average_precision_50")
    monitors: ClassVar = {"train_loss": "min", "val_map": "max", "val_map_50": "max"}

    def setup(self, stage: str) -> None:
        super().setup(stage)
        self.precision = MeanAveragePrecision()

    def training_step(self, batch: Batch, _: int) -> Tensor:
        (pixels,), targets = batch
        for target in targets:
            if "masks" in target:
                target["masks"] = pad_maps([target["masks"]], pixels.shape[2:], fill=0)[0]
        loss = sum(self.network(pixels, targets).values())
        self.log_all(batch, train_loss=loss)
        return loss

    def validation_step(self, batch: Batch, _: int) -> None:
        (pixels,), targets = batch
        found = self.network(pixels).float()  # (B, detections, 6 or more)
        given = [{"boxes": one[:, :4], "scores": one[:, 4], "labels": one[:, 5].long() + 1} for one in found]
        self.precision.update(given, [{name: target[name] for name in ("boxes", "labels")} for target in targets])

    def on_validation_epoch_end(self) -> None:
        figures = self.precision.compute()
        self.log_dict({"val_map": figures["map"], "val_map_50": figures["map_50"]}, prog_bar=True)
        self.precision.reset()

    def answer(self, output: Tensor, sample: Any) -> list[dict]:
        return postprocess.boxes(output, sample, self.labels)


class InstanceSegmentation(Detection):
    """A box and a mask per object."""

    targets = InstanceTargets
    metrics = ("mask_average_precision",)

    def answer(self, output: Tensor, sample: Any) -> list[dict]:
        return postprocess.instances(output, sample, self.labels)
