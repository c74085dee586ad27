"""The base of all classifiers: one label out of many, for any kind of input."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from torch import Tensor

from handlers.base import Handler
from handlers.explain.parameters import class_id
from handlers.explain.subject import Subject, probability
from handlers.predictions import Label
from handlers.request import Request
from model_defs import postprocess


class ClassifierParameters(msgspec.Struct, forbid_unknown_fields=True):
    """A classifier's parameters. `top_k: null` gives all labels, `function_to_apply: null` is softmax, as in transformers."""

    top_k: Annotated[Annotated[int, Meta(ge=1, le=1000)] | None, Meta(description="how many labels, best first; null: all")] = (
        postprocess.TOP_K
    )
    function_to_apply: Annotated[
        Literal["softmax", "sigmoid", "none"] | None,
        Meta(description="what turns the network's outputs into scores; null: softmax"),
    ] = "softmax"


TARGET = "the label to explain, or its index; null: the best"


class Classifier(Handler):
    """Answers `[{"label", "score"}, ...]`, best first."""

    Parameters = ClassifierParameters
    Prediction = list[Label]
    explains: type[Subject] | None = None  # how its kind of input is explained

    def postprocess(self, output: Tensor, sample: Any, request: Request) -> list[dict]:
        return postprocess.top(output, self.labels, request.parameters.top_k, request.parameters.function_to_apply)

    def subject(self, output: Tensor, sample: Any, request: Request) -> Subject:
        """The answer begins with the best `{"label", "score"}`. The target is that label, or the request's."""
        if self.explains is None:
            raise self.no_explanations()
        return explained_label(self.explains, self, self.labels, output, sample, request)


def explained_label(
    kind: type[Subject], handler: Handler, labels: list[str], output: Tensor, sample: Any, request: Request
) -> Subject:
    """The probability of the label that the request names, or else of the best one.

    Args:
        labels: of the output's last axis.
    """
    (best,) = postprocess.top(output, labels, 1)
    target = class_id(request.parameters.target, labels, labels.index(best["label"]))
    score, head = probability(target), best | {"target": labels[target]}
    return kind(handler, sample, request, score, head, float(score(output).mean()))
