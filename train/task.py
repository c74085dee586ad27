"""What is learned: one LightningModule a kind of loss. Here stand what all of them share, and the classification.

Knows nothing of where examples come from (`train/data/`), nor of what is written once the weights are found (`train/write.py`).
"""

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from lightning import LightningModule
from matplotlib.figure import Figure
from torch import Tensor, nn
from torchmetrics.classification import MulticlassAccuracy
from torchvision.transforms import v2

from model_defs import postprocess
from model_defs.artifact import Sample
from model_defs.build import build, complete
from model_defs.transform import Transform
from train import report
from train.augment import HookAugmentation
from train.gradient_checkpointing import recompute
from train.targets import ClassTargets, Targets
from train.transfer import Transfer, freeze, head_of_others, load_weights, parameter_groups

Batch = tuple[tuple[Tensor, ...], Any]  # the network's inputs, and the targets


class Task(LightningModule):
    """What all tasks share: how the network is built and optimised. A task says what its loss is, and what is answered.

    Args:
        network: its class; what only the data can say (the number of classes, of channels, of words) is filled in.
        transform: from an input's bytes to a sample; it is served with the weights.
        augment: modules that change a decoded sample at random, applied one after the other while training only.
        learning_rate: the highest that the schedule reaches: see `one_cycle`.
        weight_decay: of AdamW.
        transfer: where the first weights come from, and what of the network learns.
        recompute: layers that forget what they computed and compute it again for the gradients: more time, less memory.
    """

    targets: type[Targets]  # from what is true of an example to what the loss takes
    metrics: tuple[str, ...]  # of `model_defs/metrics.py`, the one to compare first

    def __init__(
        self,
        network: Callable[[int], nn.Module],
        transform: Transform,
        augment: list[nn.Module] | None = None,
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-2,
        transfer: Transfer | None = None,
        recompute: list[str] | None = None,
    ):
        super().__init__()
        self.save_hyperparameters()  # keeps network and transform as {class_path, init_args}: what model.json will say
        self.transform = transform
        self.inside = [module for module in augment or [] if isinstance(module, HookAugmentation)]
        outside = [module for module in augment or [] if not isinstance(module, HookAugmentation)]
        self.augment = v2.Compose(outside) if outside else None
        self.transfer = transfer or Transfer()
        self.frozen: list[nn.Module] = []

    def setup(self, stage: str) -> None:
        """Read every example once, let the transform learn, then build the network that fits both."""
        data = self.trainer.datamodule
        data.fit(self.transform)
        data.check(self.transform)
        self.labels = data.labels
        self.spec = complete(self.hparams.network, self.facts())
        # Channels last suits convolutions: a quarter faster on a CPU, more on a GPU; other weights are left as they are.
        self.network = build(self.spec).to(memory_format=torch.channels_last)
        for augmentation in self.inside:
            augmentation.attach(self.network, lambda: self.training)
        data.equip(self.network, self.transform)
        if self.transfer.weights:
            source = self.transfer.weights
            new = load_weights(
                self.network, source, self.spec["init_args"].get("name"), head_of_others(source, self.labels, self.spec)
            )
            self.print(f"weights of {self.transfer.weights}; new are {', '.join(new) or 'none'}", flush=True)
        if self.transfer.train_from:
            self.frozen = freeze(self.network, self.transfer.train_from)
        recompute(self.network, self.hparams.recompute or [])

    def on_train_start(self) -> None:
        if self.global_rank:  # processes that learn together change their samples each in its own way
            torch.manual_seed(torch.initial_seed() + self.global_rank)

    def facts(self) -> dict[str, Any]:
        """What the network must know of the data, by the name of its parameter."""
        return {"num_classes": len(self.labels), **self.transform.facts()}

    def train(self, mode: bool = True) -> "Task":
        super().train(mode)
        for module in self.frozen:
            module.eval()
        return self

    def log_all(self, batch: Batch, **values: Any) -> None:
        """Log values over the epoch, of all processes together."""
        self.log_dict(values, on_step=False, on_epoch=True, prog_bar=True, batch_size=len(batch[1]), sync_dist=True)

    def configure_optimizers(self) -> dict:
        optimizer = torch.optim.AdamW(
            parameter_groups(self.network, self.hparams.learning_rate, self.hparams.weight_decay, self.transfer.rates)
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, partial(one_cycle, steps=self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    # --- once the weights are found

    def answer(self, output: Tensor, sample: Any) -> Any:
        """One output -> what the wire says to a caller who asks for nothing special."""
        raise NotImplementedError

    def kind(self, sample: Sample) -> Hashable:
        """What the sample is an example of: the artifact takes one of each kind along."""
        return labels_of(sample.truth)

    def is_right(self, sample: Sample) -> bool:
        """Whether the answer to the sample shows what the model can do."""
        return labels_of(sample.answer) == labels_of(sample.truth)

    def figures(self, answered: list[tuple[Sample, bytes]]) -> dict[str, Figure | None]:
        """For the artifact's report, beside the curves."""
        return {"examples.png": report.marked(self.transform, answered)}


@dataclass
class Mix:
    """Two examples in one, with both their labels: in each batch one of the two ways that are named.

    Args:
        mixup: alpha of the share's Beta distribution, 0.2 say: one picture shines through the other (arXiv 1710.09412).
        cutmix: alpha, 1.0 say: a rectangle of one picture lies on the other (arXiv 1905.04899).
    """

    mixup: float | None = None
    cutmix: float | None = None

    def build(self, num_classes: int) -> nn.Module:
        ways = ((v2.MixUp, self.mixup), (v2.CutMix, self.cutmix))
        return v2.RandomChoice([way(alpha=alpha, num_classes=num_classes) for way, alpha in ways if alpha])


class Classification(Task):
    """One label out of many.

    Args:
        label_smoothing: 0 to 1: how much of the target is spread over all labels.
        mix: pictures only: two examples in one.
    """

    targets = ClassTargets
    metrics = ("accuracy", "f1")

    def __init__(self, *args: Any, label_smoothing: float = 0.0, mix: Mix | None = None, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.mix = mix
        self.loss = nn.CrossEntropyLoss(label_smoothing=label_smoothing)

    def setup(self, stage: str) -> None:
        super().setup(stage)
        self.accuracy = MulticlassAccuracy(len(self.labels), average="micro")
        self.mixed = self.mix.build(len(self.labels)) if self.mix else None

    def training_step(self, batch: Batch, _: int) -> Tensor:
        inputs, targets = batch
        if self.mixed:
            (pixels,) = inputs
            pixels, targets = self.mixed(pixels.float(), targets)
            inputs = (pixels,)
        loss = self.loss(self.network(*inputs), targets)
        self.log_all(batch, train_loss=loss)
        return loss

    def validation_step(self, batch: Batch, _: int) -> None:
        inputs, targets = batch
        logits = self.network(*inputs).float()  # (B, num_classes)
        self.accuracy(logits, targets)
        self.log_all(batch, val_loss=self.loss(logits, targets), val_accuracy=self.accuracy)

    def answer(self, output: Tensor, sample: Any) -> list[dict]:
        return postprocess.top(output, self.labels)

    def kind(self, sample: Sample) -> str:
        return sample.truth

    def is_right(self, sample: Sample) -> bool:
        return sample.answer[0]["label"] == sample.truth

    def figures(self, answered: list[tuple[Sample, bytes]]) -> dict[str, Figure | None]:
        return {
            "confusion.png": report.confusion(self.labels, [sample for sample, _ in answered]),
            "examples.png": report.examples(self.transform, answered),
        }


def labels_of(entries: list[dict]) -> tuple[str, ...]:
    """The labels of a list of things, each as often as it is there."""
    return tuple(sorted(entry["label"] for entry in entries if entry["label"] is not None))


def one_cycle(step: int, steps: int, rising: float = 0.25) -> float:
    """The share of the learning rate at `step` of `steps`: up in a line, down in half a cosine (arXiv 1708.07120).

    torch's own OneCycleLR keeps a function in its state, so that its checkpoints load only with unpickling allowed.
    """
    top = max(1, round(rising * steps))
    if step < top:
        return (step + 1) / top
    return (1 + math.cos(math.pi * (step - top) / max(1, steps - top))) / 2
