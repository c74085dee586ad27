"""Gradient checkpointing, for any network: layers that forget what they computed and compute it again for the gradients
(arXiv 1604.06174). It costs a third more time, and the memory of one layer's activations rather than of all.

Knows nothing of what the layers are.
"""

import contextlib
from collections.abc import Iterator

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from train.transfer import layer


def recompute(network: nn.Module, names: list[str]) -> list[str]:
    """Let the named layers compute again what the gradients need; of a layer that is a row of layers, each by itself.

    Weights, their names and the network's outputs stay what they were.

    Returns:
        The whole names of these layers.

    Raises:
        SpecError: no such layer.
    """
    found = []
    for name in (layer(network, name) for name in names):
        module = network.get_submodule(name)
        is_row = isinstance(module, nn.Sequential | nn.ModuleList)
        found += [f"{name}.{place}" for place, _ in module.named_children()] if is_row else [name]
    for name in found:
        wrap(network.get_submodule(name))
    return found


def wrap(module: nn.Module) -> None:
    forward = module.forward

    def forgetting(*inputs, **options):
        if not module.training:
            return forward(*inputs, **options)
        contexts = lambda: (contextlib.nullcontext(), still(module))  # noqa: E731
        return checkpoint(forward, *inputs, use_reentrant=False, context_fn=contexts, **options)

    module.forward = forgetting


@contextlib.contextmanager
def still(module: nn.Module) -> Iterator[None]:
    """While what was forgotten is computed again, batch norms see the same batch a second time: their statistics stay."""
    norms = [part for part in module.modules() if isinstance(part, _BatchNorm) and part.track_running_stats]
    before = [(norm.momentum, norm.num_batches_tracked.clone()) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, (momentum, seen) in zip(norms, before, strict=True):
            norm.momentum = momentum
            norm.num_batches_tracked.copy_(seen)
