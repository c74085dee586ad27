"""Classifiers of pictures from timm. They need the extra `timm`."""

from typing import Any

from torch import Tensor, nn

from model_defs.build import SpecError
from model_defs.errors import first_line
from model_defs.vision import Normalize


class TimmClassifier(nn.Module):
    """A network of timm, with random weights: (B, C, H, W) pixels in 0..255 -> (B, num_classes) logits.

    Args:
        architecture: its name in timm, without a tag: "convnext_atto".
        mean, std: per channel, for pixels in 0..1.
        options: what else the network is made with.

    Raises:
        SpecError: the package is not installed, or has no such network.
    """

    def __init__(
        self, num_classes: int, architecture: str, mean: list[float], std: list[float], options: dict[str, Any] | None = None
    ):
        super().__init__()
        self.normalize = Normalize(mean, std)
        self.network = network_of(architecture, num_classes, options or {})

    def forward(self, pixels: Tensor) -> Tensor:
        return self.network(self.normalize(pixels))


def network_of(architecture: str, num_classes: int, options: dict[str, Any]) -> nn.Module:
    """timm's own network. Nothing is fetched. For the error see `TimmClassifier`."""
    try:
        import timm
    except ModuleNotFoundError as error:
        raise SpecError(f"this model needs {error.name}, which is not installed: make setup EXTRAS=timm") from error
    if not timm.is_model(architecture) or not architecture.isidentifier():
        raise SpecError(f"timm {timm.__version__} has no network {architecture!r}")
    try:
        return timm.create_model(architecture, pretrained=False, num_classes=num_classes, **options)
    except (RuntimeError, ValueError, TypeError, KeyError, IndexError, AttributeError, ArithmeticError, AssertionError) as error:
        raise SpecError(f"timm's {architecture} cannot be made with {options}: {first_line(error)}") from error
