"""D-RISE: what in a picture makes a detector find one object (arXiv 2006.03204). It needs forward passes only."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import interpolate
from torchvision.ops import box_iou

from handlers.explain.method import Method, Options
from handlers.explain.views import PER_RUN, Parts

MASKS = 300
CELLS = 8  # of a random mask, along each axis
KEPT = 0.5  # the probability that a cell of a mask stays


class DRise(Method):
    """How much more alike the detection is when a pixel is seen than on average, over random soft masks."""

    takes = ("samples",)
    needs = "forwards"
    is_additive = False
    suits = "detectors and instance segmenters, whose outputs have no useful gradients"

    def passes(self, options: Options, parts: int) -> float:
        return options.samples or MASKS

    def attribute(self, view: Parts, options: Options) -> Tensor:
        masks = random_masks(options.samples or MASKS, view.shape)
        with torch.no_grad():
            scores = torch.cat([view.score(some) for some in masks.split(PER_RUN)])  # (masks,)
        seen = torch.einsum("n,nhw->hw", scores, masks) / masks.sum(0).clamp(min=1e-6)
        return seen - scores.mean()


def random_masks(count: int, shape: tuple[int, ...]) -> Tensor:
    """(count, height, width) in 0..1: random grids, enlarged and shifted, as in RISE (arXiv 1806.07421)."""
    height, width = shape
    cell_height, cell_width = math.ceil(height / CELLS), math.ceil(width / CELLS)
    grids = (torch.rand(count, 1, CELLS + 1, CELLS + 1) < KEPT).float()
    size = ((CELLS + 1) * cell_height, (CELLS + 1) * cell_width)
    large = interpolate(grids, size, mode="bilinear", align_corners=False)[:, 0]
    tops, lefts = (torch.randint(0, side, (count,)).tolist() for side in (cell_height, cell_width))
    return torch.stack([one[top : top + height, left : left + width] for one, top, left in zip(large, tops, lefts, strict=True)])


def alike(target: Tensor) -> Callable[[Tensor], Tensor]:
    """How much like the target the best detection of a picture is.

    Args:
        target: a row of a detector's output; see `model_defs.detection.Detector`.

    Returns:
        (N, detections, columns) -> (N,): the largest of score x overlap among detections of the target's label. The overlap is
        that of the boxes; if there are masks, times that of the masks inside the boxes.
    """

    def score(found: Tensor) -> Tensor:
        found = found.cpu()
        overlap = box_iou(target[None, :4], found[..., :4].reshape(-1, 4)).view(found.shape[:2])
        if found.shape[2] > 6:
            mine, theirs = target[6:] > 0.5, found[..., 6:] > 0.5
            both, either = (theirs & mine).sum(-1).float(), (theirs | mine).sum(-1).float()
            overlap = overlap * both / either.clamp(min=1)
        same = (found[..., 5].round() == target[5].round()).float() * (found[..., 4] > 0)
        return (overlap * found[..., 4] * same).amax(1)

    return score
