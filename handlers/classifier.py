"""One label out of many, for whatever kind of input: what the classifiers of all modalities share."""

from typing import Annotated, Any, Literal

import msgspec
import torch
from msgspec import Meta
from torch import Tensor

from handlers.base import Handler
from handlers.request import Request
from model_defs import postprocess


class ClassifierParameters(msgspec.Struct, forbid_unknown_fields=True):
    """What a caller may ask of a classifier."""

    top_k: Annotated[int, Meta(ge=1, le=1000, description="how many labels, best first")] = postprocess.TOP_K
    function_to_apply: Annotated[
        Literal["softmax", "sigmoid", "none"], Meta(description="what turns the network's outputs into scores")
    ] = "softmax"


class Classifier(Handler):
    """Answers `[{"label", "score"}, ...]`, best first; explains the first."""

    Parameters = ClassifierParameters

    def postprocess(self, output: Tensor, sample: Any, request: Request) -> list[dict]:
        return postprocess.top(output, self.labels, request.parameters.top_k, request.parameters.function_to_apply)

    def explain(self, output: Tensor, sample: Any, request: Request) -> dict:
        """`{"label", "score"}` of the best answer, and what spoke for it."""
        (best,) = postprocess.top(output, self.labels, 1, request.parameters.function_to_apply)
        return best | self.attributions(sample, request, self.labels.index(best["label"]))

    def attributions(self, sample: Any, request: Request, target: int) -> dict:
        """What in the sample spoke for the label of number `target`; refused where a subclass does not say."""
        return super().explain(None, sample, request)

    def scores(self, samples: list, target: int) -> Tensor:
        """(samples,): the probability of one label, by the eager network."""

        def network(inputs: tuple[Tensor, ...]) -> Tensor:
            return self.eager(*(tensor.to(self.device) for tensor in inputs))

        with torch.inference_mode():
            outputs = self.transform.outputs(network, samples)
            return torch.stack([output.softmax(-1).reshape(-1, len(self.labels))[:, target].mean() for output in outputs]).cpu()
