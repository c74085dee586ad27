"""Texts whose tokens are classified: names, places and the like."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from torch import Tensor

from handlers.base import Handler
from handlers.predictions import Entity
from handlers.request import Request
from handlers.text import TEXT
from model_defs.transformers_tokens import TokenSample, entities


class TokenParameters(msgspec.Struct, forbid_unknown_fields=True):
    """A token classifier's parameters, as transformers names them."""

    aggregation_strategy: Annotated[
        Literal["simple", "none"] | None,
        Meta(description="simple: neighbours of one label are one entity; none: each token by itself; null: simple"),
    ] = "simple"


class TokenClassifier(Handler):
    """A text -> its entities, in the order of the text: `[{"entity_group", "score", "word", "start", "end"}, ...]`."""

    accepts = TEXT
    Parameters = TokenParameters
    Prediction: Any = list[Entity]

    def postprocess(self, output: Tensor, sample: TokenSample, request: Request) -> list[dict]:
        is_each = request.parameters.aggregation_strategy == "none"
        return entities(output, sample, self.labels, None if is_each else self.transform.joined)
