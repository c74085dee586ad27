"""Transfer learning: where a network's initial weights come from, which of its layers learn, and how fast each.

Layers have the names that the network gives them, "layer4" or "features.6.0", and are ordered as it defines them.
"""

from dataclasses import dataclass, field

from torch import nn

from train.layers import find_layer, is_within, named_parameters

HEAD = "head"


@dataclass
class Transfer:
    """
    Args:
        weights: "DEFAULT" for torchvision's best weights of the network's `name`, which are downloaded; or a file of weights, in
            any form that `make import` reads; or an artifact's folder.
        new: layers that keep their initial values, whatever the weights have for them.
        train_from: the first layer that learns, or "head" for the last one alone. The layers before it keep their weights and
            their batch-norm statistics. By default all layers learn.
        rates: the share of the learning rate for a layer and all within it; 1 by default.
    """

    weights: str | None = None
    new: list[str] = field(default_factory=list)
    train_from: str | None = None
    rates: dict[str, float] = field(default_factory=dict)


def freeze(network: nn.Module, train_from: str) -> list[nn.Module]:
    """Let only the layer `train_from` and those after it learn.

    Returns:
        The modules before it. They must stay in evaluation mode, so that their batch norms keep their statistics.

    Raises:
        SpecError: no such layer.
    """
    leaves = {name: module for name, module in network.named_modules() if not next(module.children(), None)}
    if train_from == HEAD:
        first = [name for name, module in leaves.items() if next(module.parameters(), None) is not None][-1]
    else:
        first = find_layer(network, train_from)
    frozen: list[nn.Module] = []
    for name, module in leaves.items():
        if is_within(name, first):
            break
        frozen.append(module.eval())
    for name, parameter in network.named_parameters():
        if is_within(name, first):
            break
        parameter.requires_grad = False
    return frozen


def parameter_groups(network: nn.Module, learning_rate: float, weight_decay: float, rates: dict[str, float]) -> list[dict]:
    """The parameters that learn, as an optimizer's groups: one per learning rate, with and without weight decay.

    Biases and norms have no weight decay.

    Raises:
        SpecError: a rate is for a layer that the network does not have.
    """
    shares = {find_layer(network, name): share for name, share in rates.items()}
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in named_parameters(network):
        if parameter.requires_grad:
            nearest = max((layer for layer in shares if is_within(name, layer)), key=len, default=None)
            decay = weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((learning_rate * shares.get(nearest, 1.0), decay), []).append(parameter)
    return [{"params": found, "lr": rate, "weight_decay": decay} for (rate, decay), found in groups.items()]
