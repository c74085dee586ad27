"""Texts as vectors: the handler of embeddings."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta
from torch import Tensor
from torch.nn.functional import normalize

from handlers.base import Handler
from handlers.request import Request
from handlers.text import TEXT
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

    def postprocess(self, output: Tensor, sample: Tensor, request: Request) -> list[float]:
        return vector(normalize(output, dim=0) if request.parameters.normalize else output)
