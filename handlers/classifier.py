"""The base of all classifiers: one label out of many, for any kind of input."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec
import torch
from msgspec import Meta
from torch import Tensor

from handlers import explain
from handlers.base import Handler
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


class Classifier(Handler):
    """Answers `[{"label", "score"}, ...]`, best first. Explains the first label."""

    Parameters = ClassifierParameters
    Prediction = list[Label]

    def postprocess(self, output: Tensor, sample: Any, request: Request) -> list[dict]:
        return postprocess.top(output, self.labels, request.parameters.top_k, request.parameters.function_to_apply)

    def explain(self, output: Tensor, sample: Any, request: Request) -> dict:
        """The best `{"label", "score"}`, and the attributions for it."""
        (best,) = postprocess.top(output, self.labels, 1, request.parameters.function_to_apply)
        return best | self.attributions(sample, request, self.labels.index(best["label"]))

    def attributions(self, sample: Any, request: Request, target: int) -> dict:
        """The weights of the sample's parts for a label. A subclass that does not write this gives no explanations.

        Args:
            target: the label's class_id.
        """
        raise self.no_explanations()

    def part_weights(self, sample: Any, count: int, without: Callable[[Any, set[int]], Any], target: int) -> list[float]:
        """How much the label's score falls when one part of the sample is left out.

        Args:
            count: how many parts the sample has.
            without: (sample, indices of parts) -> the sample without these parts.
            target: the label's class_id.
        """

        def score(kept: list[list[int]]) -> Tensor:
            return self.scores([without(sample, set(range(count)) - set(indices)) for indices in kept], target)

        return explain.part_weights(score, count)

    def scores(self, samples: list, target: int) -> Tensor:
        """(samples,): the label's probability by the eager network, the mean over a sample's windows if it has several."""

        def network(inputs: tuple[Tensor, ...]) -> Tensor:
            return self.eager(*(tensor.to(self.device) for tensor in inputs))

        with torch.inference_mode():
            outputs = self.transform.outputs(network, samples)
            return torch.stack([output.softmax(-1).reshape(-1, len(self.labels))[:, target].mean() for output in outputs]).cpu()
