"""Training tasks, one LightningModule per kind of loss. This file has the base class and classification."""

import math
from collections.abc import Callable, Hashable
from functools import partial
from typing import Any, ClassVar

import torch
from lightning import LightningModule
from matplotlib.figure import Figure
from torch import Tensor, nn
from torchmetrics.classification import MulticlassAccuracy
from torchvision.transforms import v2

from model_defs import postprocess
from model_defs.artifact import Sample
from model_defs.build import SpecError, complete
from model_defs.transform import Transform
from train import report
from train.augment import HookAugmentation, MixUpOrCutMix
from train.gradient_checkpointing import checkpoint_layers
from train.head import head_of
from train.layers import find_layer
from train.network import build_network, try_augmentation, try_network
from train.targets import ClassTargets, Targets
from train.transfer import HEAD, Transfer, freeze, parameter_groups
from train.weight_files import Weights, read_weights
from train.weights import load_weights, refuse_other_vocabulary

Batch = tuple[tuple[Tensor, ...], Any]  # the network's inputs, and the targets


class Task(LightningModule):
    """The base of all tasks: builds the network and the optimizer. A task adds the loss, the metrics and the answer.

    Args:
        network: its class; what the data determines (the number of classes, of channels, of words) is filled in.
        transform: from an input's bytes to a sample; it is served with the weights.
        augment: modules that change a decoded sample at random, one after the other, in training only.
        learning_rate: the highest one of the schedule, see `one_cycle`.
        weight_decay: of AdamW.
        transfer: where the initial weights come from, and which layers learn.
        gradient_checkpointing: layers that compute their activations again in the backward pass: more time, less memory.
    """

    targets: type[Targets]  # from a truth to what the loss takes
    metrics: tuple[str, ...]  # names from `model_defs/metrics.py`; the first is the one to compare
    monitors: ClassVar[dict[str, str]] = {}  # what each epoch logs -> "min" or "max", whichever is better

    def __init__(
        self,
        network: Callable[[int], nn.Module],
        transform: Transform,
        augment: list[nn.Module] | None = None,
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-2,
        transfer: Transfer | None = None,
        gradient_checkpointing: list[str] | None = None,
    ):
        super().__init__()
        self.save_hyperparameters()  # keeps network and transform as {class_path, init_args}: what model.json will say
        self.transform = transform
        self.hook_augmentations = [module for module in augment or [] if isinstance(module, HookAugmentation)]
        on_samples = [module for module in augment or [] if not isinstance(module, HookAugmentation)]
        self.augment = v2.Compose(on_samples) if on_samples else None
        self.transfer = transfer or Transfer()
        self.frozen: list[nn.Module] = []

    def setup(self, stage: str) -> None:
        """Fit the transform to the data and decode every example; then build the network, and set its initial weights."""
        data = self.trainer.datamodule
        data.fit(self.transform)
        data.decode(self.transform)
        self.labels = data.labels
        self.build()
        data.init_weights(self.network, self.transform)
        self.prepare_transfer()
        checkpoint_layers(self.network, self.hparams.gradient_checkpointing or [])

    def build(self) -> None:
        self.spec = complete(self.hparams.network, self.facts())
        self.network = build_network(self.spec)
        self.check_network()
        for augmentation in self.hook_augmentations:
            augmentation.attach(self.network, lambda: self.training)

    def check_network(self) -> None:
        """Run the augmentation and the network on two samples of the data.

        Raises:
            SpecError: they do not suit the data, or the task.
        """
        examples = self.trainer.datamodule.splits["validation"][:2]
        samples = [self.transform(one.read()) for one in examples]
        try_augmentation(self.targets(self.labels, self.augment), samples, [one.truth for one in examples])
        try_network(self.network, self.transform, samples, self.output_size())

    def prepare_transfer(self) -> None:
        """Load the initial weights, and freeze the layers that must not learn."""
        weights = self.initial_weights()
        if weights is not None:
            head = head_of(self.network, self.spec)
            layers = [head if name == HEAD else [find_layer(self.network, name)] for name in self.transfer.new]
            loaded = load_weights(self.network, weights, head, self.labels, {name for names in layers for name in names})
            self.print(f"weights of {weights.source}: {loaded}", flush=True)
        if self.transfer.train_from:
            self.frozen = freeze(self.network, self.transfer.train_from)

    def initial_weights(self) -> Weights | None:
        """The weights that `transfer` names, if it names any."""
        if not self.transfer.weights:
            return None
        refuse_other_vocabulary(self.transfer.weights, self.transform)
        return read_weights(self.transfer.weights, self.spec["init_args"].get("name"))

    def on_train_start(self) -> None:
        if self.global_rank:  # each process augments with its own random numbers
            torch.manual_seed(torch.initial_seed() + self.global_rank)

    def facts(self) -> dict[str, Any]:
        """What the network must know of the data, by the names of its parameters."""
        return {"num_classes": len(self.labels), **self.transform.facts()}

    def output_size(self) -> int | None:
        """The size of the first dimension of one output, such as the number of classes; None if it may be any."""
        return None

    def train(self, mode: bool = True) -> "Task":
        super().train(mode)
        for module in self.frozen:
            module.eval()
        return self

    def log_all(self, batch: Batch, **values: Any) -> None:
        """Log values averaged over the epoch and over all processes."""
        self.log_dict(values, on_step=False, on_epoch=True, prog_bar=True, batch_size=len(batch[1]), sync_dist=True)

    def configure_optimizers(self) -> dict:
        optimizer = torch.optim.AdamW(
            parameter_groups(self.network, self.hparams.learning_rate, self.hparams.weight_decay, self.transfer.rates)
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, partial(one_cycle, steps=self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    # --- after training

    def answer(self, output: Tensor, sample: Any) -> Any:
        """One output -> the answer to a request without parameters."""
        raise NotImplementedError

    def group(self, sample: Sample) -> Hashable:
        """What the sample is an example of. The artifact's samples are of different groups."""
        return labels_of(sample.truth)

    def is_correct(self, sample: Sample) -> bool:
        """Whether the answer shows what the model can do."""
        return labels_of(sample.answer) == labels_of(sample.truth)

    def figures(self, answered: list[tuple[Sample, bytes]]) -> dict[str, Figure | None]:
        """Pictures for the artifact's report, in addition to the curves."""
        return {"examples.png": report.marked(self.transform, answered)}


class Classification(Task):
    """One label per example.

    Args:
        label_smoothing: 0 to 1: the share of the target that is spread over all labels.
        mix: for pictures: MixUp and CutMix.
    """

    targets = ClassTargets
    metrics = ("accuracy", "f1")
    monitors: ClassVar = {"train_loss": "min", "val_loss": "min", "val_accuracy": "max"}

    def __init__(self, *args: Any, label_smoothing: float = 0.0, mix: MixUpOrCutMix | None = None, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.mix = mix
        self.loss = nn.CrossEntropyLoss(label_smoothing=label_smoothing)

    def setup(self, stage: str) -> None:
        super().setup(stage)
        self.accuracy = MulticlassAccuracy(len(self.labels), average="micro")
        self.mixed = self.mix.build(len(self.labels)) if self.mix else None

    def check_network(self) -> None:
        """As in `Task`; and `mix` is for pictures."""
        super().check_network()
        if not self.mix:
            return
        inputs = self.transform.collate([self.transform(self.trainer.datamodule.splits["validation"][0].read())])
        if len(inputs) > 1 or inputs[0].dim() != 4:
            raise SpecError(f"mix blends pictures, and {type(self.transform).__name__} gives none; leave it out")

    def output_size(self) -> int:
        return len(self.labels)

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

    def group(self, sample: Sample) -> str:
        return sample.truth

    def is_correct(self, sample: Sample) -> bool:
        return sample.answer[0]["label"] == sample.truth

    def figures(self, answered: list[tuple[Sample, bytes]]) -> dict[str, Figure | None]:
        return {
            "confusion.png": report.confusion(self.labels, [sample for sample, _ in answered]),
            "examples.png": report.examples(self.transform, answered),
        }


def labels_of(entries: list[dict]) -> tuple[str, ...]:
    """The labels of a list of objects, each as often as it occurs."""
    return tuple(sorted(entry["label"] for entry in entries if entry["label"] is not None))


def one_cycle(step: int, steps: int, rising: float = 0.25) -> float:
    """The share of the learning rate at `step` of `steps`: a linear rise, then half a cosine down (arXiv 1708.07120).

    torch's own OneCycleLR keeps a function in its state, so that its checkpoints cannot be loaded with `weights_only=True`.
    """
    top = max(1, round(rising * steps))
    if step < top:
        return (step + 1) / top
    return (1 + math.cos(math.pi * (step - top) / max(1, steps - top))) / 2
