"""Layers of a network by their names: "layer4", or "features.6.0"."""

from collections.abc import Iterator

from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import _CHECKPOINT_PREFIX

from model_defs.build import SpecError, did_you_mean

WRAPPED = "network."  # our networks keep torchvision's network under this name


def find_layer(network: nn.Module, name: str) -> str:
    """The full name of a layer; torchvision's own name for it is accepted too.

    Raises:
        SpecError: no such layer.
    """
    names = [plain(known) for known, _ in network.named_modules() if known]
    for spelling in (name, f"{WRAPPED}{name}"):
        if spelling in names:
            return spelling
    short = {known.removeprefix(WRAPPED) for known in names}
    raise SpecError(f"the network has no layer {name!r}{did_you_mean(name, {known for known in short if known.count('.') < 2})}")


def is_within(name: str, layer: str) -> bool:
    """Whether this is the name of the layer, or of a layer or tensor inside it."""
    return f"{name}.".startswith(f"{layer}.")


def named_parameters(network: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """As `network.named_parameters()`, with the names from before gradient checkpointing."""
    return ((plain(name), parameter) for name, parameter in network.named_parameters())


def plain(name: str) -> str:
    """The name without what torch's checkpoint_wrapper puts into it."""
    return f"{name}.".replace(_CHECKPOINT_PREFIX, "").removesuffix(".")
