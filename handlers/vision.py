"""Pictures: the handlers of classifiers, object detectors and segmenters."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta
from torch import Tensor

from handlers import explain
from handlers.base import Handler
from handlers.classifier import Classifier
from handlers.predictions import Detection, Segment
from handlers.request import Kind, Request
from model_defs import postprocess
from model_defs.vision import ImageSample

PICTURE = Kind("a picture", ("image/",), "send the bytes of a JPEG, PNG or WebP file: curl -T picture.jpg URL")


class ImageClassifier(Classifier):
    """A picture -> its labels, best first."""

    accepts = PICTURE

    def attributions(self, sample: Tensor, request: Request, target: int) -> dict:
        """`{"heatmap": "<base64 PNG>"}`, of the square that the network sees."""
        return {"heatmap": explain.heatmap(self.eager, sample.to(self.device), target)}


class DetectorParameters(msgspec.Struct, forbid_unknown_fields=True):
    """A detector's parameters."""

    threshold: Annotated[float, Meta(ge=0, le=1, description="the least score")] = postprocess.THRESHOLD
    max_detections: Annotated[int, Meta(ge=1, le=100, description="how many, best first")] = postprocess.MOST_DETECTIONS


class ObjectDetector(Handler):
    """A picture -> its objects, best first: labels and boxes, in pixels of the picture that was sent, after EXIF rotation."""

    accepts = PICTURE
    Parameters = DetectorParameters
    Prediction: Any = list[Detection]

    def postprocess(self, output: Tensor, sample: ImageSample, request: Request) -> list[dict]:
        wanted = request.parameters
        return postprocess.boxes(output, sample, self.labels, wanted.threshold, wanted.max_detections)


class InstanceSegmenter(ObjectDetector):
    """A picture -> its objects, best first: labels and PNG masks at the original size, after EXIF rotation."""

    Prediction = list[Segment]

    def postprocess(self, output: Tensor, sample: ImageSample, request: Request) -> list[dict]:
        wanted = request.parameters
        return postprocess.instances(output, sample, self.labels, wanted.threshold, wanted.max_detections)


class SegmenterParameters(msgspec.Struct, forbid_unknown_fields=True):
    """A segmenter's parameters."""

    threshold: Annotated[float, Meta(ge=0, le=1, description="the least mean probability of a label's mask")] = 0.0


class ImageSegmenter(Handler):
    """A picture -> the labels that it has: PNG masks at the original size, after EXIF rotation."""

    accepts = PICTURE
    Parameters = SegmenterParameters
    Prediction = list[Segment]

    def postprocess(self, output: Tensor, sample: ImageSample, request: Request) -> list[dict]:
        return postprocess.masks(output, sample, self.labels, request.parameters.threshold)


class LabelSegmenter(ImageSegmenter):
    """The same for a network without a background: each pixel has one of the labels."""

    def postprocess(self, output: Tensor, sample: ImageSample, request: Request) -> list[dict]:
        return postprocess.label_masks(output, sample, self.labels, request.parameters.threshold)
