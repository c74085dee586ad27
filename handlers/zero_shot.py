"""Pictures compared with labels that come with the request."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta
from torch import Tensor

from handlers.base import Handler
from handlers.classifier import TARGET, explained_label
from handlers.explain.methods import FORWARDS, METHODS
from handlers.explain.parameters import parameters
from handlers.explain.pictures import BASELINES, LabelledPicture
from handlers.explain.subject import Subject
from handlers.predictions import Label
from handlers.request import Request
from handlers.vision import PICTURE
from model_defs import postprocess
from model_defs.transformers_clip import BLANK, LabelledSample

MAX_LABELS, MAX_CHARS = 100, 200  # of a label
Name = Annotated[str, Meta(min_length=1, max_length=MAX_CHARS)]


class ZeroShotParameters(msgspec.Struct, forbid_unknown_fields=True):
    """The parameters of zero-shot classification, as transformers names them."""

    candidate_labels: Annotated[
        Annotated[list[Name], Meta(min_length=1, max_length=MAX_LABELS)]
        | Annotated[str, Meta(min_length=1, max_length=MAX_LABELS * MAX_CHARS)]
        | None,
        Meta(description="the labels to choose from, a list or a text with commas; null: those of the import"),
    ] = None
    hypothesis_template: Annotated[
        Annotated[str, Meta(max_length=MAX_CHARS)] | None,
        Meta(description=f"a sentence with {BLANK} for the label; null: transformers' own"),
    ] = None

    def __post_init__(self) -> None:
        """A text with commas -> the list. `ValueError` is how msgspec is told of a wrong value."""
        if isinstance(self.candidate_labels, str):
            self.candidate_labels = [label.strip() for label in self.candidate_labels.split(",") if label.strip()]
        wrong = [label for label in self.candidate_labels or [] if not label.strip() or len(label) > MAX_CHARS]
        if wrong or (self.candidate_labels is not None and not 1 <= len(self.candidate_labels) <= MAX_LABELS):
            raise ValueError(f"candidate_labels: give 1 to {MAX_LABELS} labels of 1 to {MAX_CHARS} characters")


class ZeroShotImageClassifier(Handler):
    """A picture, and labels -> `[{"label", "score"}, ...]`, best first: all of the labels."""

    accepts = PICTURE
    Parameters = ZeroShotParameters
    Prediction: Any = list[Label]
    ExplanationParameters = parameters("ZeroShotImageClassifier", FORWARDS, METHODS, BASELINES, TARGET, also=ZeroShotParameters)

    def postprocess(self, output: Tensor, sample: LabelledSample, request: Request) -> list[dict]:
        return postprocess.top(output, sample.labels, top_k=None)

    def subject(self, output: Tensor, sample: LabelledSample, request: Request) -> Subject:
        """The answer begins with the best `{"label", "score"}`. The target is that label, or another one of the request."""
        return explained_label(LabelledPicture, self, sample.labels, output, sample, request)
