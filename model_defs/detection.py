"""Networks that find objects in a picture: their boxes, and for Mask R-CNNs their masks.

Each returns one tensor of a fixed shape, so every runtime that runs a classifier can run it. `postprocess.boxes` and
`postprocess.instances` turn the tensor into answers.
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
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign

from model_defs.vision import IMAGENET

DETECTIONS = 100  # rows of the output per picture


class Detector(nn.Module):
    """The base of all detectors, around one of torchvision's detection modules.

    In evaluation: (B, 3, S, S) uint8 -> (B, DETECTIONS, 6) float32: xmin, ymin, xmax, ymax in pixels, score, class_id. The best
    row is first; rows of zeros fill up. A network with masks has 28 x 28 more columns: the mask's probabilities inside its box.
    In training: pixels, and per picture a dict of `boxes`, `labels` (class_id + 1) and perhaps `masks` -> the losses by name.
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network
        if hasattr(network, "roi_heads") and network.roi_heads.has_mask():
            network.transform = SmallMaskTransform(network.transform)

    def forward(self, pixels: Tensor, targets: list[dict[str, Tensor]] | None = None) -> Tensor | dict[str, Tensor]:
        pictures = list(pixels / 255)
        if targets is not None:
            return self.network(pictures, targets)
        return torch.stack([as_rows(found) for found in self.network(pictures)])


class SmallMaskTransform(GeneralizedRCNNTransform):
    """torchvision's transform of a Mask R-CNN, except that masks stay (N, 1, 28, 28).

    torchvision pastes each mask into the frame, which makes it more bytes than the picture.
    """

    def __init__(self, given: GeneralizedRCNNTransform):
        names = ("min_size", "max_size", "image_mean", "image_std", "size_divisible", "fixed_size", "_skip_resize")
        super().__init__(**{name: getattr(given, name) for name in names})

    def postprocess(self, result: list[dict[str, Tensor]], *sizes: list[tuple[int, int]]) -> list[dict[str, Tensor]]:
        """Scale the boxes back to the frame, as torchvision does, and leave the masks alone."""
        if self.training:
            return result
        masks = [found.pop("masks") for found in result]
        scaled = super().postprocess(result, *sizes)
        return [found | {"masks": mask} for found, mask in zip(scaled, masks, strict=True)]


class TorchvisionDetector(Detector):
    """Any detector of `torchvision.models.detection` by name, untrained. For its inputs and outputs see `Detector`.

    Args:
        num_classes: labels, without the background.
        name: as `torchvision.models.get_model` takes it: "fasterrcnn_mobilenet_v3_large_320_fpn", "retinanet_resnet50_fpn",
            "ssdlite320_mobilenet_v3_large", "ssd300_vgg16", "maskrcnn_resnet50_fpn" ...
        size: of the frame in pixels. The network sees the frame at this size, except an SSD, which resizes it to its own.
        options: other arguments of torchvision's function: `{"box_nms_thresh": 0.4}`.
    """

    def __init__(self, num_classes: int, name: str, size: int | None = None, options: dict | None = None):
        builder = torchvision.models.get_model
        super().__init__(builder(name, weights=None, weights_backbone=None, num_classes=num_classes + 1, **(options or {})))
        resizing = self.network.transform
        if size and not resizing.fixed_size:
            resizing.min_size, resizing.max_size = (size,), size


class SmallDetector(Detector):
    """An SSD (arXiv 1512.02325) with a small backbone, for simple objects in small pictures. It trains fast from scratch.

    Args:
        num_classes: labels, without the background.
        size: of the frame in pixels, 64 or more. It finds objects of an eighth of the frame and larger.
        width: channels of the first block.
    """

    def __init__(self, num_classes: int, size: int | None = None, width: int = 16):
        size = size or 128
        boxes = DefaultBoxGenerator([[2], [2], [2]], scales=[0.16, 0.3, 0.5, 0.8])
        mean, std = IMAGENET
        network = SSD(Pyramid(width), boxes, (size, size), num_classes + 1, image_mean=mean, image_std=std, score_thresh=0.05)
        super().__init__(network)


class SmallMaskRCNN(Detector):
    """A Mask R-CNN (arXiv 1703.06870) with the small detector's backbone and small heads. It trains in minutes from scratch.

    Args:
        num_classes: labels, without the background.
        size: of the frame in pixels, 64 or more.
        width: channels of the first block. The heads have four times as many.
    """

    def __init__(self, num_classes: int, size: int | None = None, width: int = 16):
        size, channels, classes = size or 128, 4 * width, num_classes + 1
        pyramid = Pyramid(width)
        backbone = nn.Sequential(pyramid, FeaturePyramidNetwork(pyramid.out_channels, channels))
        backbone.out_channels = channels  # type: ignore[assignment]  # where torchvision looks for it
        maps = [str(level) for level in range(len(pyramid.out_channels))]
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
    """A small backbone: (B, 3, H, W) -> "0": (B, 4 width, H / 8, W / 8), "1" and "2": (B, 8 width, ...) at 1/16 and 1/32."""

    def __init__(self, width: int):
        super().__init__()

        def block(inputs: int, outputs: int, stride: int = 2) -> list[nn.Module]:
            return [nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]

        def stage(inputs: int, outputs: int) -> nn.Module:
            return nn.Sequential(*block(inputs, outputs), *block(outputs, outputs, stride=1))

        self.stem = nn.Sequential(*block(3, width), *stage(width, 2 * width))  # (B, 2 width, H / 4, W / 4)
        self.stages = nn.ModuleList([stage(2 * width, 4 * width), stage(4 * width, 8 * width), stage(8 * width, 8 * width)])
        self.out_channels = [4 * width, 8 * width, 8 * width]

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        features, maps = self.stem(pixels), OrderedDict()
        for level, stage in enumerate(self.stages):
            features = maps[str(level)] = stage(features)
        return maps


def as_rows(found: dict[str, Tensor]) -> Tensor:
    """torchvision's detections in one picture -> (DETECTIONS, 6 or more); see `Detector`."""
    columns = [found["boxes"], found["scores"][:, None], found["labels"][:, None] - 1]
    if "masks" in found:
        columns.append(found["masks"].flatten(1))
    rows = torch.cat([column.float() for column in columns], dim=1)[:DETECTIONS]
    return pad(rows, (0, 0, 0, DETECTIONS - len(rows)))
