"""The head of a network: the tensors whose shape depends on the number of classes, and how its rows follow their labels."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from model_defs.build import build

MAX_LISTED = 5  # labels in a message


class Rows(NamedTuple):
    """How the first dimension of a head's tensor grows with the classes: `first + per_class * num_classes`.

    Args:
        per_class: rows per class; None if the tensor grows in another way.
        first: rows before those of the classes: 1 where the background has one.
    """

    per_class: int | None
    first: int


def head_of(network: nn.Module, spec: Mapping) -> dict[str, Rows]:
    """The head's tensors by their names in the state_dict; none if the network takes no `num_classes`.

    The network is built again with one class more. The tensors that have another shape then are the head.

    Args:
        spec: `{class_path, init_args}` that the network was built from, with `num_classes`.
    """
    count = spec["init_args"].get("num_classes")
    if count is None:
        return {}
    with torch.random.fork_rng(devices=[]):  # the training's random numbers stay the same
        larger = build({**spec, "init_args": {**spec["init_args"], "num_classes": count + 1}}).state_dict()
    own = {name: tensor.shape for name, tensor in network.state_dict().items()}
    return {name: rows_of(shape, larger[name].shape, count) for name, shape in own.items() if larger[name].shape != shape}


def rows_of(shape: torch.Size, larger: torch.Size, count: int) -> Rows:
    if shape[1:] != larger[1:]:
        return Rows(None, 0)
    per_class = larger[0] - shape[0]
    return Rows(per_class, shape[0] - per_class * count)


def can_follow(head: Mapping[str, Rows]) -> bool:
    """Whether every tensor has one row per class, after one for the background at most. Where it has several, as a detector's
    box regression has, their order differs from network to network."""
    return bool(head) and all(rows.per_class == 1 and rows.first in (0, 1) for rows in head.values())


def rows_by_label(own: Tensor, given: Tensor, first: int, labels: list[str], given_labels: list[str]) -> Tensor:
    """`own` with the row of each label that is also in `given_labels` taken from `given`.

    Args:
        first: rows before those of the classes; they are taken from `given`.
    """
    merged = own.clone()
    merged[:first] = given[:first]
    for index, label in enumerate(labels):
        if label in given_labels:
            merged[first + index] = given[first + given_labels.index(label)]
    return merged


def listed(labels: list[str]) -> str:
    """The first labels, and how many more there are."""
    more = f" and {len(labels) - MAX_LISTED} more" if len(labels) > MAX_LISTED else ""
    return ", ".join(labels[:MAX_LISTED]) + more
