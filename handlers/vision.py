"""Pictures: one class a task."""

from typing import Annotated

import msgspec
from msgspec import Meta
from torch import Tensor

from handlers.base import Handler
from handlers.classifier import Classifier
from handlers.request import PICTURE, Request
from model_defs import postprocess
from model_defs.vision import ImageSample


class ImageClassifier(Classifier):
    """A picture -> its labels, best first."""

    accepts = PICTURE

    def attributions(self, sample: Tensor, request: Request, target: int) -> dict:
        """`{"heatmap": "<base64 PNG>"}`, of the square that the network sees."""
        from handlers import explain  # Captum takes a second to import, and most workers never explain

        return {"heatmap": explain.pixels(self.eager, sample.to(self.device), target)}


class DetectorParameters(msgspec.Struct, forbid_unknown_fields=True):
    """What a caller may ask of a detector."""

    threshold: Annotated[float, Meta(ge=0, le=1, description="the least score")] = postprocess.THRESHOLD
    max_detections: Annotated[int, Meta(ge=1, le=100, description="how many, best first")] = postprocess.MOST_DETECTIONS


class ObjectDetector(Handler):
    """A picture -> what is where in it, best first: boxes in pixels of the picture as it was sent, held upright."""

    accepts = PICTURE
    Parameters = DetectorParameters

    def postprocess(self, output: Tensor, sample: ImageSample, request: Request) -> list[dict]:
        wanted = request.parameters
        return postprocess.boxes(output, sample, self.labels, wanted.threshold, wanted.max_detections)


class InstanceSegmenter(ObjectDetector):
    """A picture -> a mask of each thing in it, best first: PNGs of the size of the picture as it was sent, held upright."""

    def postprocess(self, output: Tensor, sample: ImageSample, request: Request) -> list[dict]:
        wanted = request.parameters
        return postprocess.instances(output, sample, self.labels, wanted.threshold, wanted.max_detections)


class SegmenterParameters(msgspec.Struct, forbid_unknown_fields=True):
    """What a caller may ask of a segmenter."""

    threshold: Annotated[float, Meta(ge=0, le=1, description="the least mean probability of a label's mask")] = 0.0


class ImageSegmenter(Handler):
    """A picture -> a mask of each label in it: PNGs of the size of the picture as it was sent, held upright."""

    accepts = PICTURE
    Parameters = SegmenterParameters

    def postprocess(self, output: Tensor, sample: ImageSample, request: Request) -> list[dict]:
        return postprocess.masks(output, sample, self.labels, request.parameters.threshold)
