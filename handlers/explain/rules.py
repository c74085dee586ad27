"""A copy of a network in which each activation is a module that is called once, as DeepLift's rules need it.

torchvision's ResNets call one ReLU twice, in place, which Captum refuses (pytorch/captum#199). Captum 0.9.0 also loses a part of
the change in max pooling (pytorch/captum#1104). `torch.fx` rewrites the calls.
"""

import copy
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
import torch.fx
from torch import Tensor, nn
from torch.nn import functional

from handlers.explain.views import Scored

SPLIT: WeakKeyDictionary[nn.Module, nn.Module] = WeakKeyDictionary()  # the copy of each network; making one takes long
POINTS = 48  # on the line between two outputs
RULED = {functional.relu: nn.ReLU, torch.relu: nn.ReLU, "relu": nn.ReLU, "relu_": nn.ReLU}  # a function, or a tensor's method
REPEATED = (nn.ReLU, nn.ReLU6, nn.ELU, nn.LeakyReLU, nn.Sigmoid, nn.Tanh, nn.Softplus, nn.MaxPool1d)


class Ruled(nn.Module):
    """A network and its score for DeepLift, which calls it with inputs and their baselines in one batch.

    The network's layers follow DeepLift's rules. The score, such as a softmax, has none: it is replaced by a linear function of
    the network's outputs, whose weights are the mean gradient on the line between both outputs. So nothing of the change is lost.
    """

    def __init__(self, network: nn.Module, score: Callable[[Tensor], Tensor]):
        super().__init__()
        self.network, self.score = network, score
        points, weights = np.polynomial.legendre.leggauss(POINTS)
        self.points, self.weights = ((points + 1) / 2).tolist(), (weights / 2).tolist()

    def forward(self, inputs: Tensor) -> Tensor:
        outputs = self.network(inputs)  # (2 N, ...): N inputs, then their N baselines
        slope = self.slope(*outputs.detach().chunk(2))
        return (outputs * torch.cat([slope, slope])).flatten(1).sum(1)

    def slope(self, found: Tensor, baseline: Tensor) -> Tensor:
        """(N, ...), (N, ...) outputs -> (N, ...): the mean gradient of the score between them."""
        slope = torch.zeros_like(found)
        for point, weight in zip(self.points, self.weights, strict=True):
            between = (baseline + point * (found - baseline)).requires_grad_()
            with torch.enable_grad():
                slope += weight * torch.autograd.grad(self.score(between).sum(), between)[0]
        return slope


class PairwiseMax(nn.Module):
    """Max pooling as ReLUs, whose rule loses nothing: max(a, b) = a + relu(b - a)."""

    def __init__(self, pooling: nn.MaxPool2d):
        super().__init__()
        sizes = (pooling.kernel_size, pooling.stride, pooling.padding)
        self.kernel, self.stride, self.padding = ((size, size) if isinstance(size, int) else size for size in sizes)
        self.relus = nn.ModuleList(nn.ReLU() for _ in range(self.kernel[0] * self.kernel[1] - 1))

    def forward(self, maps: Tensor) -> Tensor:
        if any(self.padding):  # a repeated edge is in the window anyway
            maps = functional.pad(maps, (self.padding[1],) * 2 + (self.padding[0],) * 2, mode="replicate")
        places = [
            [slice(start, start + stride * ((size - kernel) // stride) + 1, stride) for start in range(kernel)]
            for size, kernel, stride in zip(maps.shape[-2:], self.kernel, self.stride, strict=True)
        ]
        first, *others = (maps[..., row, column] for row in places[0] for column in places[1])
        for relu, other in zip(self.relus, others, strict=True):
            first = first + relu(other - first)
        return first


def rule_by_rule(network: Scored) -> Ruled:
    """A copy of the network as `Ruled` needs it. A network that `torch.fx` cannot trace is copied as it is."""
    rest = network.network
    if getattr(rest, "rest", ()):  # its other inputs become constants of the copy
        return Ruled(split(rest), network.score).eval()
    root = rest.network
    if root not in SPLIT:
        SPLIT[root] = split(rest)
    return Ruled(SPLIT[root], network.score).eval()


def split(network: nn.Module) -> nn.Module:
    copied = copy.deepcopy(network)
    try:
        traced = torch.fx.symbolic_trace(copied)
    except Exception:  # a branch on a value, a keyword argument ...: what fx raises has no common base
        return copied
    for index, node in enumerate(list(traced.graph.nodes)):
        module = rule_of(traced, node)
        if module is not None:
            name = f"rule_{index}"
            traced.add_submodule(name, module)
            with traced.graph.inserting_before(node):
                node.replace_all_uses_with(traced.graph.call_module(name, node.args[:1]))
            traced.graph.erase_node(node)
    traced.recompile()
    return traced


def rule_of(traced: Any, node: Any) -> nn.Module | None:
    """A module of its own for a call of an activation or a pooling; None for all else."""
    if node.op in ("call_function", "call_method") and node.target in RULED:
        return RULED[node.target]()
    if node.op == "call_module" and isinstance(pooling := traced.get_submodule(node.target), nn.MaxPool2d):
        return PairwiseMax(pooling) if pooling.dilation in (1, (1, 1)) and not pooling.ceil_mode else copy.deepcopy(pooling)
    if node.op == "call_module" and type(traced.get_submodule(node.target)) in REPEATED:
        own = copy.deepcopy(traced.get_submodule(node.target))
        if hasattr(own, "inplace"):
            own.inplace = False
        return own
    return None
