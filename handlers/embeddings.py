"""Texts as vectors: the handler of embeddings."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from handlers.base import Handler
from handlers.explain.methods import FORWARDS, METHODS
from handlers.explain.parameters import parameters
from handlers.explain.subject import Subject
from handlers.explain.texts import BASELINES, TextSubject
from handlers.request import Request
from handlers.text import BY_GRADIENTS, TEXT
from model_defs.errors import WrongValue
from model_defs.postprocess import vector


class EmbeddingParameters(msgspec.Struct, forbid_unknown_fields=True):
    """The parameters of embeddings, as huggingface_hub names them."""

    normalize: Annotated[
        bool | None, Meta(description="whether the vector gets the length 1; false or null: as the model gives it")
    ] = None


class FeatureExtractor(Handler):
    """A text -> its vector: a list of numbers."""

    accepts = TEXT
    Parameters = EmbeddingParameters
    Prediction: Any = list[float]
    ExplanationParameters = parameters(
        "FeatureExtractor", [*BY_GRADIENTS, *FORWARDS], METHODS, BASELINES, "another text; the similarity of both is explained"
    )

    def postprocess(self, output: Tensor, sample: Tensor, request: Request) -> list[float]:
        return vector(normalize(output, dim=0) if request.parameters.normalize else output)

    def subject(self, output: Tensor, sample: Tensor, request: Request) -> Subject:
        """The cosine similarity of the text and the target, which is another text.

        Raises:
            WrongValue: there is no target.
        """
        if request.parameters.target is None:
            raise WrongValue(
                "a vector has no score that can be explained, but the similarity of two texts can be: send the other as 'target'"
            )
        target = str(request.parameters.target)
        (other,) = self.inference([self.transform(target)])

        def score(vectors: Tensor) -> Tensor:  # (N, size) -> (N,)
            return cosine_similarity(vectors, other.to(vectors.device), dim=-1)

        similarity = float(score(output[None]))
        return TextSubject(self, sample, request, score, {"similarity": similarity, "target": target}, similarity)
