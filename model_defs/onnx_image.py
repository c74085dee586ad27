"""Pictures for a network from an ONNX file, which wants them normalised: nothing of ours can be put in front of it."""

from collections.abc import Callable

import torch
from torch import Tensor

from model_defs.exact_image import ExactImageTransform
from model_defs.onnx_network import as_logits

DTYPES = {"float": torch.float32, "float16": torch.float16, "uint8": torch.uint8}  # as ONNX names them


class OnnxImageTransform(ExactImageTransform):
    """`ExactImageTransform`, whose batches are (pixels / 255 - mean) / std.

    Args:
        mean, std: per channel, for pixels in 0..1.
        dtype: what the file takes: "float", "float16", or "uint8", which is not normalised.
        channels_last: whether it takes (B, H, W, channels).
        gives_probabilities: whether its outputs are probabilities rather than logits.
        arguments: of `ExactImageTransform`.
    """

    def __init__(
        self,
        mean: list[float],
        std: list[float],
        dtype: str = "float",
        channels_last: bool = False,
        gives_probabilities: bool = False,
        resize: int | list[int] | None = 256,
        crop: int = 224,
        interpolation: str = "bilinear",
        mode: str = "RGB",
        upright: bool = False,
    ):
        super().__init__(resize, crop, interpolation, mode, upright)
        self.mean, self.std = torch.tensor(mean).view(-1, 1, 1), torch.tensor(std).view(-1, 1, 1)
        self.dtype, self.is_last, self.gives_probabilities = DTYPES[dtype], channels_last, gives_probabilities

    def collate(self, samples: list[Tensor]) -> tuple[Tensor]:
        """(C, H, W) uint8 each -> (B, C, H, W), or (B, H, W, C), as the file takes it."""
        pixels = torch.stack(samples)
        if self.dtype != torch.uint8:
            pixels = ((pixels.float() / 255 - self.mean) / self.std).to(self.dtype)
        return (pixels.permute(0, 2, 3, 1).contiguous() if self.is_last else pixels,)

    def outputs(self, network: Callable[[tuple[Tensor, ...]], Tensor], samples: list[Tensor]) -> list[Tensor]:
        return as_logits(super().outputs(network, samples), self.gives_probabilities)
