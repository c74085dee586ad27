"""Give a network the weights of another training: exactly, or not at all."""

import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from model_defs.artifact import MODEL
from model_defs.build import SpecError
from model_defs.transform import Transform
from train.head import Rows, can_follow, listed, rows_by_label
from train.layers import WRAPPED, is_within
from train.weight_files import Weights

WRAPPERS = ("module.", "model.", "_orig_mod.", WRAPPED)
AUXILIARY = ("aux_classifier.", "aux1.", "aux2.", "AuxLogits.")  # heads of torchvision's that only its own training uses
COUNTER = ".num_batches_tracked"  # of a batch norm; older files lack it, and torch then begins at 0


class Loaded(NamedTuple):
    """
    Args:
        new: tensors that kept their initial values.
        note: what to say of the head, or nothing.
    """

    new: list[str]
    note: str

    def __str__(self) -> str:
        return (f"new are {', '.join(self.new)}" if self.new else "all are taken") + self.note


def load_weights(
    network: nn.Module, weights: Weights, head: Mapping[str, Rows], labels: list[str], new: Collection[str] = ()
) -> Loaded:
    """Copy the weights into the network. Every tensor must be there with its shape, except in the head and in `new`.

    If the source names its labels, the rows of the head follow them: a row whose label both have is copied, any other keeps its
    initial values. If it does not, the head is taken where all its shapes are equal.

    Args:
        head: of this network, from `head_of`.
        labels: of this network's classes.
        new: layers that keep their initial values, by their full names.

    Raises:
        SpecError: these are not the network's weights; the message names the first tensor that is wrong.
    """
    own, given = aligned(network, weights.tensors)
    new = {*new, *weights.lacking}
    given, new_head, note = with_head(own, given, weights.labels, head, labels, new)
    new = {*new, *new_head}
    refuse_others(own, given, new, weights.source)
    network.load_state_dict({name: tensor for name, tensor in given.items() if not is_new(name, new)}, strict=False)
    return Loaded([name for name in own if is_new(name, new)], note)


def aligned(network: nn.Module, tensors: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """(the network's own tensors, the given ones) under the same names. If the given ones are of the inner network alone, as
    torchvision's are, so are the own ones."""
    own = network.state_dict()
    tensors = unwrapped(tensors, own.keys())
    inner = {name: tensor for name, tensor in own.items() if name.startswith(WRAPPED)}
    if inner and not tensors.keys() & own.keys():
        own, tensors = inner, {f"{WRAPPED}{name}": tensor for name, tensor in tensors.items()}
    auxiliary = [name for name in tensors if name not in own and name.removeprefix(WRAPPED).startswith(AUXILIARY)]
    return own, {name: tensor for name, tensor in tensors.items() if name not in auxiliary}


def unwrapped(tensors: dict[str, Tensor], own: Collection[str]) -> dict[str, Tensor]:
    """The tensors without what DataParallel, torch.compile and Lightning put in front of all names."""
    for prefix in WRAPPERS * 2:
        if tensors and tensors.keys().isdisjoint(own) and all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors


def with_head(
    own: dict[str, Tensor],
    given: dict[str, Tensor],
    given_labels: list[str] | None,
    head: Mapping[str, Rows],
    labels: list[str],
    new: Collection[str],
) -> tuple[dict[str, Tensor], Collection[str], str]:
    """(the given tensors, the head's rows in the order of `labels`; the head's tensors if it is new; what to say of the head)."""
    wanted = [name for name in head if not is_new(name, new)]
    if not wanted or given_labels == labels:
        return given, (), ""
    if given_labels is None:
        if all(name in given and given[name].shape == own[name].shape for name in wanted):
            return given, (), f"; the file does not name its labels: its head's are taken to be {listed(labels)}, in this order"
        return given, wanted, ""
    kept = [label for label in labels if label in given_labels]
    sizes = {name: torch.Size((head[name].first + len(given_labels), *own[name].shape[1:])) for name in wanted}
    if not kept or not can_follow(head) or any(name not in given or given[name].shape != sizes[name] for name in wanted):
        return given, wanted, ""
    rows = {name: rows_by_label(own[name], given[name], head[name].first, labels, given_labels) for name in wanted}
    added = [label for label in labels if label not in given_labels]
    others = f"; those of {listed(added)} are new" if added else ""
    return given | rows, (), f"; the head's rows follow their labels: those of {listed(kept)} are kept{others}"


def is_new(name: str, new: Collection[str]) -> bool:
    return any(is_within(name, layer) for layer in new)


def refuse_others(own: dict[str, Tensor], given: dict[str, Tensor], new: Collection[str], source: str) -> None:
    """
    Raises:
        SpecError: a tensor is missing, left over, or of another shape, outside the layers that are new.
    """
    wanted = {name: tensor for name, tensor in own.items() if not is_new(name, new)}
    missing = [name for name in wanted if name not in given and not name.endswith(COUNTER)]
    left_over = [name for name in given if name not in own and not is_new(name, new)]
    other = [
        f"{name}: {shape_of(given[name])}, expected {shape_of(tensor)}"
        for name, tensor in wanted.items()
        if name in given and given[name].shape != tensor.shape
    ]
    faults = {"missing": missing, "left over": left_over, "of another shape": other}
    if any(faults.values()):
        counted = "; ".join(f"{len(found)} {kind}, the first is {found[0]}" for kind, found in faults.items() if found)
        raise SpecError(
            f"{source} has another network's weights: of this one's {len(own)} tensors {counted}. Give weights of the same "
            "network, or name the layers that are to be new: --model.transfer.new=[layer]"
        )


def shape_of(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "one number"


def refuse_other_vocabulary(source: str, transform: Transform) -> None:
    """
    Raises:
        SpecError: the source is an artifact whose words or pieces have other indices, so that its embeddings mean others.
    """
    folder = Path(source)
    if not (folder / MODEL).is_file() or "vocab_size" not in transform.facts():
        return
    with tempfile.TemporaryDirectory() as written:
        transform.save(Path(written))
        for file in Path(written).iterdir():
            if not (folder / file.name).is_file() or (folder / file.name).read_bytes() != file.read_bytes():
                raise SpecError(f"{source} has another {file.name} than this data gives: its embeddings are of other words")
