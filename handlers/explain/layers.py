"""Methods that look at one layer of the network: what it sees, and what it adds."""

import torch
from torch import Tensor, nn

from handlers.explain.gradients import STEPS, in_steps
from handlers.explain.method import Method, Options, Unsuitable
from handlers.explain.views import PER_RUN, Dense, Rest, Scored
from model_defs.build import did_you_mean
from model_defs.errors import WrongValue

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


class LayerMethod(Method):
    """The base of these methods. The layer is the last convolution, unless the request names another."""

    takes: tuple[str, ...] = ("layer",)
    needs = "layer"


class LayerConductance(LayerMethod):
    """How much of integrated gradients flows through each unit of the layer (arXiv 1805.12233)."""

    takes = ("layer", "steps")
    is_complete = True
    suits = "which units of a layer decide"

    def passes(self, options: Options, parts: int) -> float:
        return 3 * (options.steps or STEPS)

    def attribute(self, view: Dense, options: Options) -> Tensor:
        from captum.attr import LayerConductance as Captum

        method, baseline = Captum(view.network, layer_of(view.network, options.layer)), view.baseline.expand_as(view.inputs)

        def attribute(steps: int) -> Tensor:
            return as_one(method.attribute(view.inputs, baseline, n_steps=steps, internal_batch_size=PER_RUN))

        return in_steps(view, options, attribute)


class LayerActivation(LayerMethod):
    """The layer's output itself. It says what the layer sees, for any target."""

    is_additive = False
    suits = "what a layer sees"

    def passes(self, options: Options, parts: int) -> float:
        return 1

    def attribute(self, view: Dense, options: Options) -> Tensor:
        from captum.attr import LayerActivation as Captum

        with torch.no_grad():
            return as_one(Captum(view.network, layer_of(view.network, options.layer)).attribute(view.inputs)) / len(view.inputs)


class GradCam(LayerMethod):
    """The layer's channels, weighted by their mean gradient (arXiv 1610.02391); the sign stays."""

    is_additive = False
    suits = "convolutional networks: a coarse map at the lowest cost"

    def passes(self, options: Options, parts: int) -> float:
        return 3

    def attribute(self, view: Dense, options: Options) -> Tensor:
        from captum.attr import LayerGradCam as Captum

        layer = layer_of(view.network, options.layer)
        return as_one(Captum(view.network, layer).attribute(view.inputs)) / len(view.inputs)


def layer_of(network: Scored, name: str | None) -> nn.Module:
    """The layer of that name, or the last convolution.

    Raises:
        WrongValue: the network has no layer of that name.
        Unsuitable: it has no convolution.
    """
    whole = network.network.network if isinstance(network.network, Rest) else network.network
    layers = dict(whole.named_modules())
    if name is not None:
        if not name or name not in layers:
            raise WrongValue(f"layer: the network has no layer {name!r}{did_you_mean(name, filter(None, layers))[:400]}")
        return layers[name]
    found = [layer for layer in layers.values() if isinstance(layer, CONVOLUTIONS)]
    if not found:
        raise Unsuitable("the network has no convolution; name a layer")
    return found[-1]


def as_one(values: Tensor | tuple[Tensor, ...]) -> Tensor:
    """Some layers give several tensors; the first counts."""
    return values if isinstance(values, Tensor) else values[0]
