"""Explanations: attributions by Captum for one request, on the eager network.

Each function takes a way to score inputs for one label, and returns weights that JSON can express. An explanation costs about
thirty times as much as a prediction.

The functions import Captum when they are called, because its import takes a second and most workers never explain.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from model_defs.postprocess import png_base64

STEPS = 24  # points on the path of integrated gradients
INPUTS_PER_RUN = 8  # of the network


def heatmap(network: nn.Module, picture: Tensor, target: int) -> str:
    """The weight of each pixel for the label, by integrated gradients (arXiv 1703.01365) from a grey picture.

    Args:
        network: (B, C, H, W) float in 0..255 -> (B, num_classes) logits.
        picture: (C, H, W) uint8.
        target: the label's class_id.

    Returns:
        A grey PNG of H x W in base64. The pixel with the largest weight is white.
    """
    from captum.attr import IntegratedGradients

    attributor = IntegratedGradients(lambda batch: network(batch).softmax(-1))
    inputs = picture[None].float()
    weights = attributor.attribute(
        inputs, torch.full_like(inputs, 127.5), target, n_steps=STEPS, internal_batch_size=INPUTS_PER_RUN
    )  # (1, C, H, W)
    strength = weights[0].abs().sum(0)  # (H, W)
    return png_base64((255 * strength / strength.max().clamp(min=1e-12)).byte().cpu().numpy())


def part_weights(score: Callable[[list[list[int]]], Tensor], count: int) -> list[float]:
    """How much the label's score falls when one part of the input is left out, such as a word or a moment.

    Args:
        score: for each list of the indices of the parts that stay, the label's score: (inputs,) for a list of lists.
        count: how many parts there are.
    """
    from captum.attr import FeatureAblation

    def forward(masks: Tensor) -> Tensor:  # (inputs, count) of ones and zeros -> (inputs,)
        return score([mask.nonzero().flatten().tolist() for mask in masks])

    whole = torch.ones(1, count)
    weights = FeatureAblation(forward).attribute(whole, perturbations_per_eval=INPUTS_PER_RUN)  # (1, count)
    return [round(weight, 6) for weight in weights[0].tolist()]
