"""The table of all methods, and the choice among them."""

from collections.abc import Callable, Sequence

from handlers.explain.gradients import DeepLift, DeepLiftShap, GradientShap, IntegratedGradients, NoiseTunnel
from handlers.explain.layers import GradCam, LayerActivation, LayerConductance
from handlers.explain.method import BOUND, Found, Method, Options, Unsuitable, find
from handlers.explain.perturbation import FeatureAblation, Occlusion
from handlers.explain.shapley import KernelShap, ShapleyValues
from handlers.explain.views import Dense, Parts
from model_defs.errors import WrongValue

METHODS: dict[str, Method] = {
    "integrated_gradients": IntegratedGradients(),
    "gradient_shap": GradientShap(),
    "deep_lift": DeepLift(),
    "deep_lift_shap": DeepLiftShap(),
    "noise_tunnel": NoiseTunnel(),
    "layer_conductance": LayerConductance(),
    "layer_activation": LayerActivation(),
    "grad_cam": GradCam(),
    "occlusion": Occlusion(),
    "feature_ablation": FeatureAblation(),
    "shapley_values": ShapleyValues(),
    "kernel_shap": KernelShap(),
}
GRADIENTS = tuple(name for name, method in METHODS.items() if method.needs in ("gradients", "background"))
LAYERS = tuple(name for name, method in METHODS.items() if method.needs == "layer")
FORWARDS = tuple(name for name, method in METHODS.items() if method.needs == "forwards")
View = Callable[[str], Dense | Parts]  # what a method of that name works on


def chosen(named: str | None, usual: Sequence[str], view: View, options: Options, methods: dict[str, Method]) -> Found:
    """Run the named method, or else the first of the usual ones whose attributions add up.

    Raises:
        WrongValue: the method does not suit the network, or misses too much of the score's change.
    """
    reason = ""
    for name in [named] if named else usual:
        try:
            found = find(name, methods[name], view(name), options)
        except Unsuitable as error:
            reason = f"{name} does not suit this model: {error}"
            continue
        if found.is_exact():
            return found
        reason = f"{name} misses {found.error:.0%} of the score's change, and {BOUND:.0%} is allowed"
    raise WrongValue(f"method: {reason}; {instead(named or usual[-1], usual, options)}")


def instead(name: str, usual: Sequence[str], options: Options) -> str:
    """What to do after a method failed."""
    if options.steps:
        return "take more steps, or leave them out"
    return f"take {usual[-1]}" if name != usual[-1] else "take feature_ablation"
