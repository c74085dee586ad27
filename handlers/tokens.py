"""Texts whose tokens are classified: names, places and the like."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from torch import Tensor

from handlers.base import Handler
from handlers.explain.entities import BASELINES, EntitySubject, chosen_entity, of_entity, of_label
from handlers.explain.methods import FORWARDS, METHODS
from handlers.explain.parameters import parameters
from handlers.explain.subject import Subject
from handlers.predictions import Entity
from handlers.request import Request
from handlers.text import BY_GRADIENTS, TEXT
from model_defs.transformers_tokens import TokenSample, entities, groups, kind, labelled, together


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
    ExplanationParameters = parameters(
        "TokenClassifier",
        [*BY_GRADIENTS, *FORWARDS],
        METHODS,
        BASELINES,
        "the entity: its index in the answer, or its label; or a label to look for in the text; null: the best entity",
    )

    def postprocess(self, output: Tensor, sample: TokenSample, request: Request) -> list[dict]:
        is_each = request.parameters.aggregation_strategy == "none"
        return entities(output, sample, self.labels, None if is_each else self.transform.joined)

    def subject(self, output: Tensor, sample: TokenSample, request: Request) -> Subject:
        """An entity that was found; the answer begins with it. Or a label anywhere in the text."""
        tokens = labelled(output, sample, self.labels)
        found = groups(tokens)
        answer = [together(group, self.transform.joined) for group in found]
        target = chosen_entity(request.parameters.target, answer, self.labels)
        if isinstance(target, int):
            places = [token["index"] for token in found[target]]
            score, head = of_entity(places, output[places].argmax(-1).tolist()), answer[target]
        else:
            class_ids = [class_id for class_id, label in enumerate(self.labels) if target in (label, kind(label))]
            score = of_label(class_ids, [token["index"] for token in tokens])
            head = {"entity_group": target, "score": float(score(output[None]))}
        return EntitySubject(self, sample, request, score, head | {"target": target}, float(score(output[None])))
