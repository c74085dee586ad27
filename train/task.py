"""What is learned: one LightningModule a kind of loss.

Knows nothing of where examples come from (`train/data/`), nor of what is written once the weights are found (`train/write.py`).
"""

import math
from collections.abc import Callable
from functools import partial

import torch
from lightning import LightningModule
from torch import Tensor, nn
from torchmetrics.classification import MulticlassAccuracy

from model_defs.build import build, complete
from model_defs.transform import Transform


class Classification(LightningModule):
    """One label out of many.

    Args:
        network: its class; what only the data can say (the number of classes, of channels, of words) is filled in.
        transform: from an input's bytes to a sample; it is served with the weights.
        augment: modules that change a decoded sample at random, applied one after the other while training only.
        learning_rate: the highest that the schedule reaches: see `one_cycle`.
        weight_decay: of AdamW.
        label_smoothing: 0 to 1: how much of the target is spread over all labels.
    """

    def __init__(
        self,
        network: Callable[[int], nn.Module],
        transform: Transform,
        augment: list[nn.Module] | None = None,
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-2,
        label_smoothing: float = 0.0,
    ):
        super().__init__()
        self.save_hyperparameters()  # keeps network and transform as {class_path, init_args}: what model.json will say
        self.transform = transform
        self.augment = nn.Sequential(*augment) if augment else None
        self.loss = nn.CrossEntropyLoss(label_smoothing=label_smoothing)

    def setup(self, stage: str) -> None:
        """Read every example once, let the transform learn, then build the network that fits both."""
        data = self.trainer.datamodule
        data.fit(self.transform)
        data.check(self.transform)
        self.labels = data.labels
        self.spec = complete(self.hparams.network, {"num_classes": len(self.labels), **self.transform.facts()})
        # Channels last suits convolutions: a quarter faster on a CPU, more on a GPU; other weights are left as they are.
        self.network = build(self.spec).to(memory_format=torch.channels_last)
        self.accuracy = MulticlassAccuracy(len(self.labels), average="micro")

    def training_step(self, batch: tuple[tuple[Tensor, ...], Tensor], _: int) -> Tensor:
        inputs, targets = batch
        loss = self.loss(self.network(*inputs), targets)
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(targets))
        return loss

    def validation_step(self, batch: tuple[tuple[Tensor, ...], Tensor], _: int) -> None:
        inputs, targets = batch
        logits = self.network(*inputs).float()  # (B, num_classes)
        self.accuracy(logits, targets)
        self.log("val_loss", self.loss(logits, targets), prog_bar=True, batch_size=len(targets))
        self.log("val_accuracy", self.accuracy, prog_bar=True, batch_size=len(targets))

    def configure_optimizers(self) -> dict:
        decayed = [parameter for parameter in self.network.parameters() if parameter.ndim > 1]
        plain = [parameter for parameter in self.network.parameters() if parameter.ndim <= 1]  # biases and norms
        optimizer = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": self.hparams.weight_decay}, {"params": plain, "weight_decay": 0.0}],
            lr=self.hparams.learning_rate,
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, partial(one_cycle, steps=self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def one_cycle(step: int, steps: int, rising: float = 0.25) -> float:
    """The share of the learning rate at `step` of `steps`: up in a line, down in half a cosine (arXiv 1708.07120).

    torch's own OneCycleLR keeps a function in its state, so that its checkpoints load only with unpickling allowed.
    """
    top = max(1, round(rising * steps))
    if step < top:
        return (step + 1) / top
    return (1 + math.cos(math.pi * (step - top) / max(1, steps - top))) / 2
