"""Gradient checkpointing for any network: layers drop their activations and compute them again in the backward pass (arXiv
1604.06174). Training takes a third more time, and the memory of one layer's activations instead of all of them.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
from torch.nn.modules.batchnorm import _BatchNorm

from train.layers import find_layer


def checkpoint_layers(network: nn.Module, names: list[str]) -> list[str]:
    """Checkpoint the named layers. For an `nn.Sequential` or `nn.ModuleList`, checkpoint each of its layers.

    Weights, their names in the state_dict, and outputs stay the same.

    Returns:
        The full names of these layers.

    Raises:
        SpecError: no such layer.
    """
    found = []
    for name in (find_layer(network, name) for name in names):
        module = network.get_submodule(name)
        is_row = isinstance(module, nn.Sequential | nn.ModuleList)
        found += [f"{name}.{child}" for child, _ in module.named_children()] if is_row else [name]
    for name in found:
        parent, _, child = name.rpartition(".")
        module = network.get_submodule(name)
        setattr(network.get_submodule(parent), child, checkpoint_wrapper(module, context_fn=partial(contexts, module)))
    return found


def contexts(module: nn.Module) -> tuple[AbstractContextManager, AbstractContextManager]:
    """For the first forward pass, and for the second one that the backward pass makes."""
    return nullcontext(), frozen_statistics(module)


@contextmanager
def frozen_statistics(module: nn.Module) -> Iterator[None]:
    """Keep the running statistics of batch norms: in the second forward pass they see the same batch again."""
    norms = [part for part in module.modules() if isinstance(part, _BatchNorm) and part.track_running_stats]
    before = [(norm.momentum, norm.num_batches_tracked.clone()) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, (momentum, batches) in zip(norms, before, strict=True):
            norm.momentum = momentum
            norm.num_batches_tracked.copy_(batches)
