"""What an importer is asked, what it finds, and how it refuses."""

from argparse import Namespace
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from model_defs import weights_file
from model_defs.errors import BundleError, OwnCodeError
from model_defs.transform import Transform
from model_defs.weights_file import WeightsFile

EVERY = ("name", "source", "inputs", "expect", "tolerance", "network")  # flags that mean something to every model
OF_WEIGHTS = ("labels", "key")  # to every classifier whose weights are in a file
NOT_NETWORK = ("loss", "criterion", "loss_fn", "loss_func", "train_acc", "val_acc", "test_acc")  # parts of a Lightning module


class ImportRefused(BundleError):
    """The model cannot be imported as asked; the message says why, and the way out."""


class OwnCodeFails(ImportRefused, OwnCodeError):
    """Code of the model's owner fails."""


@dataclass
class Question:
    """What the person gave.

    Args:
        name: of the new model.
        source: FROM, a file or a folder.
        labels: LABELS, a file, or "torchvision" for the labels of torchvision's own weights; "" if left out.
        flags: the other flags, as `importers/__main__.py` lists them.
        first_number: of an old archive's outputs, which are labels by their numbers if it names none; None elsewhere.
    """

    name: str
    source: Path
    labels: str
    flags: Namespace
    first_number: int | None = None

    @cached_property
    def weights(self) -> WeightsFile | None:
        """The tensors of the source without common prefixes, or None if it is a folder."""
        if self.source.is_dir():
            return None
        return stripped(weights_file.read(self.source, self.flags.key))


@dataclass
class Found:
    """A model that can be served.

    Args:
        lines: what was found, to be said before anything is written.
        network: the `{class_path, init_args}` of `built`.
        built: with its weights, in evaluation mode.
        transform: the `{class_path, init_args}` of `reads`.
        reads: one input's bytes -> what the network takes.
        labels: in the order of the outputs.
        handler: the recipe's `class_path`.
        answer: (output, sample) -> what the wire says.
        inputs: "pictures", "sounds", "texts", or "inputs" where only the model knows.
        metric: of `model_defs/metrics.py`.
        variants: other transforms that such a model may have been trained with, by the flags that choose them.
        reference: one input's bytes -> the output by the library that the model comes from, where there is one: (num_classes,)
            logits, as its own documentation computes them.
        library: its name.
        code: files that the project needs for this network, by their paths in it.
        runtime: of the recipe.
        device: the recipe's `deviceType`, where it is not the default.
        flags: those that mean something to this model, in addition to `EVERY`; "labels" is LABELS.
    """

    lines: list[str]
    network: dict[str, Any]
    built: nn.Module
    transform: dict[str, Any]
    reads: Transform
    labels: list[str]
    handler: str
    answer: Callable[[Tensor, Any], Any]
    inputs: str
    metric: str = "accuracy"
    variants: dict[str, Transform] = field(default_factory=dict)
    reference: Callable[[bytes], Tensor] | None = None
    library: str = "transformers"
    code: dict[str, bytes] = field(default_factory=dict)
    runtime: str = "eager"
    device: str = ""
    flags: tuple[str, ...] = ()


def check_flags(flags: Namespace, usual: Namespace, found: Found) -> None:
    """
    Args:
        usual: the flags' values where they are not given.

    Raises:
        ImportRefused: a flag is given that means nothing to this model.
    """
    for name, value in vars(flags).items():
        if value != getattr(usual, name) and name not in (*EVERY, *found.flags):
            takes = ", ".join(option(each) for each in found.flags) or "no flag of its own"
            raise ImportRefused(
                f"{option(name)} means nothing to this model of {found.inputs}, which takes {takes}; leave it out"
            )


def option(name: str) -> str:
    """How a person gives a flag."""
    return "LABELS" if name == "labels" else f"--{name.replace('_', '-')}"


def stripped(found: WeightsFile) -> WeightsFile:
    """The file with the losses' tensors set aside and the common prefixes, `module.` or `model.`, taken off."""
    aside = [name for name in found.tensors if name.partition(".")[0] in NOT_NETWORK]
    tensors = {name: tensor for name, tensor in found.tensors.items() if name not in aside}
    prefix = common_prefix(tensors)
    tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    kind = found.kind + (f", all under {prefix!r}" if prefix else "") + (f"; left out: {', '.join(aside[:5])}" if aside else "")
    return WeightsFile(kind, tensors, found.extras, found.named)


def common_prefix(names: Iterable[str]) -> str:
    """The modules that all these tensors are in: "module.model."; empty if there is no such module."""
    prefix, parents = "", [name.split(".")[:-1] for name in names]
    for parts in zip(*parents, strict=False):
        if len(set(parts)) > 1:
            break
        prefix += f"{parts[0]}."
    return prefix
