"""Methods by gradients along a path from a baseline, or through rules for each layer."""

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor

from handlers.explain.method import BOUND, Method, Options, Unsuitable, completeness_error
from handlers.explain.rules import rule_by_rule
from handlers.explain.views import PER_RUN, Dense

STEPS = 24  # points on the path of integrated gradients
MAX_STEPS = 192  # that a request gets which names none: the number doubles until the attributions add up
SAMPLES = 24
NOISY = 8  # samples of a noise tunnel


class IntegratedGradients(Method):
    """arXiv 1703.01365."""

    takes = ("steps",)
    is_complete = True
    suits = "every network that has gradients"

    def passes(self, options: Options, parts: int) -> float:
        return 3 * (options.steps or STEPS)

    def attribute(self, view: Dense, options: Options) -> Tensor:
        from captum.attr import IntegratedGradients as Captum

        method, baseline = Captum(view.network), view.baseline.expand_as(view.inputs)
        return in_steps(
            view, options, lambda steps: method.attribute(view.inputs, baseline, n_steps=steps, internal_batch_size=PER_RUN)
        )


def in_steps(view: Dense, options: Options, attribute: Callable[[int], Tensor]) -> Tensor:
    """The attributions by so many steps as the request says; else by twice as many until they add up."""
    with torch.no_grad():
        score, baseline = (float(view.network(inputs).mean()) for inputs in (view.inputs, view.baseline))
    steps = options.steps or STEPS
    while True:
        values = attribute(steps) / len(view.inputs)
        is_near = completeness_error(float(values.sum()), score, baseline) <= BOUND
        if is_near or options.steps or steps >= MAX_STEPS:
            return values
        steps *= 2


class GradientShap(Method):
    """Gradients at random points between the input and training inputs. "A Unified Approach" (arXiv 1705.07874)."""

    takes = ("samples", "noise")
    needs = "background"
    suits = "an average baseline instead of one; it adds up only on average"

    def passes(self, options: Options, parts: int) -> float:
        return 3 * (options.samples or SAMPLES)

    def attribute(self, view: Dense, options: Options) -> Tensor:
        from captum.attr import GradientShap as Captum

        parts = [
            Captum(view.network).attribute(
                one[None], view.backgrounds, n_samples=options.samples or SAMPLES, stdevs=(options.noise or 0) * spread(view)
            )
            for one in view.inputs
        ]
        return torch.cat(parts) / len(parts)


class DeepLift(Method):
    """One forward and one backward pass with a rule for each layer (arXiv 1704.02685)."""

    is_complete = True
    suits = "convolutions and perceptrons with ReLU, at the lowest cost; not GELU, attention or recurrent layers"

    def passes(self, options: Options, parts: int) -> float:
        return 6

    def attribute(self, view: Dense, options: Options) -> Tensor:
        from captum.attr import DeepLift as Captum

        # One at a time: captum 0.9.0 attributes wrongly where ReLU meets max pooling in a batch (pytorch/captum#1276).
        return self.by_rules(view, lambda network, one: Captum(network).attribute(one, view.baseline))

    def by_rules(self, view: Dense, attribute) -> Tensor:
        """Call Captum for each window, on a copy of the network in which each layer is called once."""
        network = rule_by_rule(view.network)
        try:
            values = [attribute(network, one[None]) for one in view.inputs]
        except (RuntimeError, AssertionError, AttributeError) as error:
            raise Unsuitable(f"a layer has no rule of DeepLift's ({str(error).splitlines()[0][:120]})") from error
        return torch.cat(values) / len(values)


class DeepLiftShap(DeepLift):
    """The mean of DeepLift over training inputs as baselines."""

    needs = "background"
    suits = "as deep_lift, with an average baseline"

    def passes(self, options: Options, parts: int) -> float:
        return 6 * 8

    def attribute(self, view: Dense, options: Options) -> Tensor:
        from captum.attr import DeepLiftShap as Captum

        if len(view.backgrounds) < 2:
            raise Unsuitable("it needs two backgrounds or more")
        return self.by_rules(view, lambda network, one: Captum(network).attribute(one, view.backgrounds))


class NoiseTunnel(Method):
    """SmoothGrad: the mean of another method over noisy copies of the input (arXiv 1706.03825)."""

    takes = ("samples", "noise", "over", "steps")
    suits = "smoother maps"
    over: ClassVar[dict[str, type[Method]]] = {"integrated_gradients": IntegratedGradients, "deep_lift": DeepLift}

    def passes(self, options: Options, parts: int) -> float:
        return (options.samples or NOISY) * self.over[options.over or "integrated_gradients"]().passes(options, parts)

    def attribute(self, view: Dense, options: Options) -> Tensor:
        from captum.attr import DeepLift as CaptumDeepLift
        from captum.attr import IntegratedGradients as CaptumGradients
        from captum.attr import NoiseTunnel as Captum

        samples, noise = options.samples or NOISY, (0.1 if options.noise is None else options.noise) * spread(view)
        if options.over == "deep_lift":
            return DeepLift().by_rules(
                view,
                lambda network, one: Captum(CaptumDeepLift(network)).attribute(
                    one, nt_samples=samples, nt_samples_batch_size=1, stdevs=noise, baselines=view.baseline
                ),
            )
        steps = options.steps or STEPS
        values = Captum(CaptumGradients(view.network)).attribute(
            view.inputs, nt_samples=samples, nt_samples_batch_size=1, stdevs=noise, n_steps=steps, internal_batch_size=PER_RUN,
            baselines=view.baseline.expand_as(view.inputs),
        )  # fmt: skip
        return values / len(view.inputs)


def spread(view: Dense) -> float:
    """The range of the sample's numbers. `noise` is a share of it."""
    return float(view.inputs.max() - view.inputs.min())
