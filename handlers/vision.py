"""Pictures: the handlers of classifiers, object detectors and segmenters."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta
from torch import Tensor

from handlers.base import Handler
from handlers.classifier import TARGET, Classifier
from handlers.explain.detection import DRise, alike
from handlers.explain.methods import FORWARDS, GRADIENTS, LAYERS, METHODS
from handlers.explain.parameters import class_id, parameters
from handlers.explain.pictures import BASELINES, FoundObject, PictureSubject, SegmentSubject, chosen_object, label_area
from handlers.explain.subject import Subject
from handlers.predictions import Detection, Segment
from handlers.request import Kind, Request
from model_defs import postprocess
from model_defs.vision import ImageSample

PICTURE = Kind("a picture", ("image/",), "send the bytes of a JPEG, PNG or WebP file: curl -T picture.jpg URL")


class ImageClassifier(Classifier):
    """A picture -> its labels, best first."""

    accepts = PICTURE

    ExplanationParameters = parameters("ImageClassifier", [*GRADIENTS, *LAYERS, *FORWARDS], METHODS, BASELINES, TARGET)
    explains = PictureSubject
    takes_backgrounds = True


OBJECT_METHODS = {"d_rise": DRise(), **{name: METHODS[name] for name in FORWARDS}}


class ObjectSubject(FoundObject):
    """An object that a detector found."""

    methods = OBJECT_METHODS


class DetectorParameters(msgspec.Struct, forbid_unknown_fields=True):
    """A detector's parameters."""

    threshold: Annotated[float, Meta(ge=0, le=1, description="the least score")] = postprocess.THRESHOLD
    max_detections: Annotated[int, Meta(ge=1, le=100, description="how many, best first")] = postprocess.MAX_DETECTIONS


class ObjectDetector(Handler):
    """A picture -> its objects, best first: labels and boxes, in pixels of the picture that was sent, after EXIF rotation."""

    accepts = PICTURE
    Parameters = DetectorParameters
    Prediction: Any = list[Detection]
    ExplanationParameters = parameters(
        "ObjectDetector",
        [*OBJECT_METHODS],
        OBJECT_METHODS,
        BASELINES,
        "the object: its index in the answer, or its label; null: the best",
    )

    def postprocess(self, output: Tensor, sample: ImageSample, request: Request) -> list[dict]:
        wanted = request.parameters
        return postprocess.boxes(output, sample, self.labels, wanted.threshold, wanted.max_detections)

    def subject(self, output: Tensor, sample: ImageSample, request: Request) -> Subject:
        """An object that was found; the answer begins with its `{"label", "score", "box"}`."""
        answer = postprocess.boxes(output, sample, self.labels)
        index = chosen_object(request.parameters.target, answer)
        row = postprocess.best_detections(output, postprocess.THRESHOLD, postprocess.MAX_DETECTIONS)[index]
        score = alike(row)
        return ObjectSubject(self, sample, request, score, answer[index] | {"target": index}, float(score(output[None])))


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
    background_classes = 1  # before the labels' classes
    takes_backgrounds = True
    ExplanationParameters = parameters(
        "ImageSegmenter",
        [*GRADIENTS, *LAYERS, *FORWARDS],
        METHODS,
        BASELINES,
        "the label, or its index; null: that of the largest area",
    )

    def postprocess(self, output: Tensor, sample: ImageSample, request: Request) -> list[dict]:
        return postprocess.masks(output, sample, self.labels, request.parameters.threshold)

    def subject(self, output: Tensor, sample: ImageSample, request: Request) -> Subject:
        """A label's mean probability over its area; the answer begins with its `{"label", "score"}`."""
        postprocess.check_finite(output)
        height, width = sample.pixels.shape[1:]
        before = self.background_classes
        sizes = output[:, :height, :width].argmax(0).flatten().bincount(minlength=before + len(self.labels))[before:]
        target = class_id(request.parameters.target, self.labels, int(sizes.argmax()))
        score = label_area(before + target, output, (height, width))
        served = float(score(output[None]))
        head = {"label": self.labels[target], "score": served, "target": self.labels[target]}
        return SegmentSubject(self, sample, request, score, head, served)


class LabelSegmenter(ImageSegmenter):
    """The same for a network without a background: each pixel has one of the labels."""

    background_classes = 0

    def postprocess(self, output: Tensor, sample: ImageSample, request: Request) -> list[dict]:
        return postprocess.label_masks(output, sample, self.labels, request.parameters.threshold)
