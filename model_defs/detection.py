"""Networks that find things in a picture: boxes around them, and masks of them.

Each gives one tensor, whatever it finds, so that what runs a classifier runs it too. Knows nothing of labels' names, or of the
picture that was sent: `answers.boxes` does.
"""

from collections import OrderedDict

import torch
import torchvision
from torch import Tensor, nn
from torch.nn.functional import pad
from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNN, MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.ssd import SSD
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign

from model_defs.vision import IMAGENET

DETECTIONS = 100  # rows for each picture


class Detector(nn.Module):
    """What all detectors share, around one of torchvision's detection modules.

    Evaluating: (B, 3, S, S) uint8 -> (B, DETECTIONS, 6): xmin, ymin, xmax, ymax in pixels, score, the label's number; best first,
    rows of zeros fill up. With masks there are 28 x 28 columns more: the mask's probabilities within its box.
    Training: pixels, and for each picture `boxes`, `labels` from 1 on and perhaps `masks` -> the losses by their names.
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network
        if hasattr(network, "roi_heads") and network.roi_heads.has_mask():
            # Masks stay as small as they are found: pasted into the frame, they are more bytes than the picture.
            network.transform.postprocess = lambda found, seen_sizes, sizes: found

    def forward(self, pixels: Tensor, targets: list[dict[str, Tensor]] | None = None) -> Tensor | dict[str, Tensor]:
        pictures = list(pixels / 255)
        if targets is not None:
            return self.network(pictures, targets)
        return torch.stack([as_rows(found) for found in self.network(pictures)])


class TorchvisionDetector(Detector):
    """Any detector of `torchvision.models.detection` by its name, untrained; see `Detector`.

    Args:
        num_classes: labels; the background is added.
        name: as `torchvision.models.get_model` takes it: "fasterrcnn_mobilenet_v3_large_320_fpn", "retinanet_resnet50_fpn",
            "ssdlite320_mobilenet_v3_large", "ssd300_vgg16", "maskrcnn_resnet50_fpn" ...
        size: of the frame; but for the SSDs, which resize to their own, the network looks at it as it is.
        options: what else torchvision's function takes: `{"box_nms_thresh": 0.4}`.
    """

    def __init__(self, num_classes: int, name: str, size: int | None = None, options: dict | None = None):
        builder = torchvision.models.get_model
        super().__init__(builder(name, weights=None, weights_backbone=None, num_classes=num_classes + 1, **(options or {})))
        resizing = self.network.transform
        if size and not resizing.fixed_size:
            resizing.min_size, resizing.max_size = (size,), size


class SmallDetector(Detector):
    """An SSD (arXiv 1512.02325) with a small backbone: enough for simple things in small pictures, and quick to train from
    scratch; see `Detector`.

    Args:
        num_classes: labels; the background is added.
        size: of the frame, 64 or more; things of an eighth of it and above are found.
        width: channels of the first block.
    """

    def __init__(self, num_classes: int, size: int | None = None, width: int = 16):
        size = size or 128
        boxes = DefaultBoxGenerator([[2], [2], [2]], scales=[0.16, 0.3, 0.5, 0.8])
        mean, std = IMAGENET
        network = SSD(Pyramid(width), boxes, (size, size), num_classes + 1, image_mean=mean, image_std=std, score_thresh=0.05)
        super().__init__(network)


class SmallMaskRCNN(Detector):
    """A Mask R-CNN (arXiv 1703.06870) with the small detector's backbone and small heads: masks of simple things in small
    pictures, learnt from scratch in minutes; see `Detector`.

    Args:
        num_classes: labels; the background is added.
        size: of the frame, 64 or more.
        width: channels of the first block; the heads have four times as many.
    """

    def __init__(self, num_classes: int, size: int | None = None, width: int = 16):
        size, channels, classes = size or 128, 4 * width, num_classes + 1
        pyramid = Pyramid(width)
        backbone = nn.Sequential(pyramid, FeaturePyramidNetwork(pyramid.out_channels, channels))
        backbone.out_channels = channels
        maps = [str(place) for place in range(len(pyramid.out_channels))]
        mean, std = IMAGENET
        network = MaskRCNN(
            backbone,
            min_size=size,
            max_size=size,
            image_mean=mean,
            image_std=std,
            rpn_anchor_generator=AnchorGenerator(((16,), (32,), (64,)), ((0.5, 1.0, 2.0),) * 3),
            rpn_pre_nms_top_n_train=200,
            rpn_post_nms_top_n_train=200,
            rpn_pre_nms_top_n_test=100,
            rpn_post_nms_top_n_test=100,
            box_roi_pool=MultiScaleRoIAlign(maps, 7, 2),
            box_head=TwoMLPHead(channels * 7 * 7, 2 * channels),
            box_predictor=FastRCNNPredictor(2 * channels, classes),
            box_batch_size_per_image=64,
            mask_roi_pool=MultiScaleRoIAlign(maps, 14, 2),
            mask_head=MaskRCNNHeads(channels, (channels, channels), 1),
            mask_predictor=MaskRCNNPredictor(channels, channels, classes),
        )
        super().__init__(network)


class Pyramid(nn.Module):
    """(B, 3, H, W) -> features of an eighth, a sixteenth and a thirty-second of the sides."""

    def __init__(self, width: int):
        super().__init__()

        def block(inputs: int, outputs: int, stride: int = 2) -> list[nn.Module]:
            return [nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]

        def stage(inputs: int, outputs: int) -> nn.Module:
            return nn.Sequential(*block(inputs, outputs), *block(outputs, outputs, stride=1))

        self.stem = nn.Sequential(*block(3, width), *stage(width, 2 * width))  # a fourth
        self.stages = nn.ModuleList([stage(2 * width, 4 * width), stage(4 * width, 8 * width), stage(8 * width, 8 * width)])
        self.out_channels = [4 * width, 8 * width, 8 * width]

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        features, maps = self.stem(pixels), OrderedDict()
        for place, stage in enumerate(self.stages):
            features = maps[str(place)] = stage(features)
        return maps


def as_rows(found: dict[str, Tensor]) -> Tensor:
    """What torchvision found in one picture -> (DETECTIONS, 6 or more)."""
    columns = [found["boxes"], found["scores"][:, None], found["labels"][:, None] - 1]
    if "masks" in found:
        columns.append(found["masks"].flatten(1))
    rows = torch.cat([column.float() for column in columns], dim=1)[:DETECTIONS]
    return pad(rows, (0, 0, 0, DETECTIONS - len(rows)))
