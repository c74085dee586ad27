"""The answers of TorchServe's stock handlers, for callers who knew a model before it was imported: `--answer-as torchserve`."""

from typing import Any

from torch import Tensor

from handlers import vision
from handlers.request import Request
from model_defs import postprocess
from model_defs.vision import ImageSample


class ImageClassifier(vision.ImageClassifier):
    """A picture -> `{label: score, ...}`, best first, as TorchServe's `image_classifier`."""

    Prediction = dict[str, float]

    def postprocess(self, output: Tensor, sample: Any, request: Request) -> dict[str, float]:
        return postprocess.by_label(super().postprocess(output, sample, request))


class ObjectDetector(vision.ObjectDetector):
    """A picture -> `[{label: [xmin, ymin, xmax, ymax], "score": score}, ...]`, as TorchServe's `object_detector`."""

    Prediction = list[dict[str, list[float] | float]]

    def postprocess(self, output: Tensor, sample: ImageSample, request: Request) -> list[dict]:
        return postprocess.corners_by_label(super().postprocess(output, sample, request))
