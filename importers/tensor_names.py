"""Whose tensors these are, told by their names and shapes; exact, except for the number of classes.

Networks are built without memory for their weights, so all 80 of torchvision's take seconds.
"""

import sys
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import torch
import torchvision
from rich.progress import track
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

Shapes = dict[str, tuple[int, ...]]
COUNTER = "num_batches_tracked"  # of a batch norm: it counts training steps, and evaluation does not read it
COMMON = ("resnet", "mobilenet", "efficientnet", "vit", "convnext", "densenet", "vgg")  # looked at first


class Weightless(TorchFunctionMode):
    """Within it `torch.empty`, which makes weights, gives tensors without memory. RegNet needs it: it computes its widths with
    tensors, which the device "meta" for all of them does not allow."""

    def __torch_function__(self, function: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        return function(*args, **(kwargs | {"device": "meta"} if function is torch.empty else kwargs))


def shapes(tensors: dict[str, Tensor]) -> Shapes:
    """Without the batch norms' counters."""
    return {name: tuple(tensor.shape) for name, tensor in tensors.items() if not name.endswith(COUNTER)}


@cache
def shapes_of(name: str, options: tuple[tuple[str, Any], ...]) -> Shapes:
    """Those of a network of torchvision's."""
    device = Weightless() if name.startswith("regnet") else torch.device("meta")
    with device:
        return shapes(torchvision.models.get_model(name, weights=None, **dict(options)).state_dict())


def fits(given: Shapes, wanted: Shapes, classes: int) -> int | None:
    """The number of classes, if the given tensors are the wanted ones except for that number; None if they are not.

    Args:
        wanted: shapes of the network with `classes` classes.
    """
    if given.keys() != wanted.keys():
        return None
    counts = set()
    for name, shape in wanted.items():
        if given[name] != shape:
            rows, parts = given[name][:1], shape[:1]
            if not rows or not parts or given[name][1:] != shape[1:] or rows[0] * classes % parts[0]:
                return None
            counts.add(rows[0] * classes // parts[0])
    return None if len(counts) > 1 else next(iter(counts), classes)


def difference(given: Shapes, wanted: Shapes) -> str:
    """The first thing that sets the given tensors apart, in words."""
    missing, extra = sorted(wanted.keys() - given.keys()), sorted(given.keys() - wanted.keys())
    if missing:
        return f"{missing[0]} is missing" + (f", and {len(missing) - 1} more" if missing[1:] else "")
    if extra:
        return f"{extra[0]} is left over" + (f", and {len(extra) - 1} more" if extra[1:] else "")
    other = next((name for name in wanted if given[name] != wanted[name]), None)
    return f"{other} is {list(given[other])}, not {list(wanted[other])}" if other else "nothing differs"


def likeness(given: Shapes, wanted: Shapes) -> float:
    """The share of tensors with the same name and shape, of those in either."""
    return len(given.items() & wanted.items()) / max(1, len(given.keys() | wanted.keys()))


def nearest(given: Shapes, known: dict[str, Shapes]) -> str:
    """The most similar of the known networks, and what sets the tensors apart from it, in words."""
    name = max(known, key=lambda name: likeness(given, known[name]))
    wanted = known[name]
    if not likeness(given, wanted):
        return "it is like no network of torchvision's"
    count = len(given.items() & wanted.items())
    return f"nearest is {name}, with {count} of its {len(wanted)} tensors: {difference(given, wanted)}"


def in_order(names: list[str], what: str) -> Iterator[str]:
    """The names, the most used first, with progress on a terminal."""
    ranked = sorted(names, key=lambda name: next((rank for rank, begin in enumerate(COMMON) if name.startswith(begin)), 99))
    yield from track(ranked, what, transient=True, disable=not sys.stdout.isatty())


def load(network: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Give the network exactly these tensors. The counters may be missing, or be there where the network has none."""
    wanted = network.state_dict()
    counters = {name: tensor for name, tensor in wanted.items() if name.endswith(COUNTER) and name not in tensors}
    kept = {name: tensor for name, tensor in tensors.items() if name in wanted or not name.endswith(COUNTER)}
    network.load_state_dict(kept | counters)


def in_fp32(tensors: dict[str, Tensor], lines: list[str]) -> dict[str, Tensor]:
    """The tensors as the network holds them; what was not float32 is said."""
    kinds = {str(tensor.dtype).removeprefix("torch.") for tensor in tensors.values() if tensor.is_floating_point()} - {"float32"}
    if kinds:
        lines.append(f"weights in {' and '.join(sorted(kinds))}: become float32")
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
