"""Why an answer is as it is: Captum's attributions for one request, on the eager network.

Each function takes what it needs to ask the network for one label's score, and gives weights that JSON can hold. An
explanation costs some thirty times a prediction. Knows nothing of requests.
"""

from collections.abc import Callable

import torch
from captum.attr import FeatureAblation, IntegratedGradients
from torch import Tensor, nn

from model_defs.postprocess import png

STEPS = 24  # points on the path that the gradients are integrated over
TOGETHER = 8  # of them, or of ablated inputs, in one forward


def pixels(network: nn.Module, picture: Tensor, target: int) -> str:
    """Which pixels spoke for the label, against a grey picture: integrated gradients (arXiv 1703.01365).

    Args:
        network: of (B, C, H, W) -> (B, num_classes) logits; takes 0..255 as float too.
        picture: (C, H, W) uint8.
        target: the label's number.

    Returns:
        A grey PNG of H x W in base64; the strongest pixel is white.
    """
    attributor = IntegratedGradients(lambda batch: network(batch).softmax(-1))
    inputs = picture[None].float()
    weights = attributor.attribute(
        inputs, torch.full_like(inputs, 127.5), target, n_steps=STEPS, internal_batch_size=TOGETHER
    )  # (1, C, H, W)
    strength = weights[0].abs().sum(0)  # (H, W)
    grey = (255 * strength / strength.max().clamp(min=1e-12)).byte().cpu().numpy()
    return png(grey)


def parts(score: Callable[[list[list[int]]], Tensor], count: int) -> list[float]:
    """How far the label's score falls when one part of the input is left out: a word, a moment.

    Args:
        score: for each list of the numbers of the parts that stay, the label's score; (inputs,) for a list of lists.
        count: of the parts.
    """

    def forward(masks: Tensor) -> Tensor:  # (inputs, count) of ones and zeros
        return score([row.nonzero().flatten().tolist() for row in masks])

    whole = torch.ones(1, count)
    weights = FeatureAblation(forward).attribute(whole, perturbations_per_eval=TOGETHER)  # (1, count)
    return [round(weight, 6) for weight in weights[0].tolist()]
