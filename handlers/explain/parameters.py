"""The parameters of an explanation: a type per kind of model, and which of them mean something for a method."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from handlers.explain.gradients import NoiseTunnel
from handlers.explain.method import Method, Options
from model_defs.build import did_you_mean
from model_defs.errors import WrongValue

OVER = tuple(NoiseTunnel.over)
OPTIONS = (  # name, type and meaning of the parameters that only some methods take
    ("steps", Annotated[int, Meta(ge=4, le=256)], "points on the path from the baseline; null: as many as needed"),
    ("samples", Annotated[int, Meta(ge=2, le=1000)], "how many random samples; null: the method's own number"),
    ("noise", Annotated[float, Meta(ge=0, le=1)], "standard deviation of the noise, as a share of the input's range"),
    ("over", Literal[OVER], "the method that noise_tunnel repeats"),
    ("layer", Annotated[str, Meta(max_length=200)], "a layer by its name in the network; null: the last convolution"),
)


def parameters(
    kind: str,
    methods: Sequence[str],
    known: dict[str, Method],
    baselines: Sequence[str],
    target: str,
    also: type[msgspec.Struct] | None = None,
) -> type[msgspec.Struct]:
    """The type of the explanation parameters of one kind of model.

    Args:
        kind: its name, as the beginning of the type's: "ImageClassifier".
        methods: that the kind has, by name.
        baselines: what may stand for an input that says nothing; the first is the default.
        target: what the parameter of that name means; "" if there is nothing to choose.
        also: parameters of a prediction without which the input cannot be read.
    """
    fields: list[tuple[str, Any, Any]] = [
        ("method", limited(Literal[tuple(methods)], "how; null: the first of the usual ones that is exact enough"), None),
        ("baseline", limited(Literal[tuple(baselines)], f"the input that says nothing; null: {baselines[0]}"), None),
        ("show", Annotated[bool, Meta(description="whether to answer with a picture, too")], False),
    ]
    if target:
        fields.insert(1, ("target", limited(int | str, target), None))
    taken = {name for method in methods for name in known[method].takes}
    fields += [(name, limited(kind_of, meaning), None) for name, kind_of, meaning in OPTIONS if name in taken]
    bases = (also,) if also else None
    return msgspec.defstruct(f"{kind}Explanation", fields, bases=bases, forbid_unknown_fields=True, module=__name__)


def limited(kind: Any, description: str) -> Any:
    return Annotated[kind | None, Meta(description=description)]


def options(given: msgspec.Struct, method: str | None, known: dict[str, Method]) -> Options:
    """The parameters that a method takes.

    Raises:
        WrongValue: one that means nothing for the method.
    """
    chosen = {name: getattr(given, name, None) for name in Options._fields}
    named = {name: value for name, value in chosen.items() if value is not None}
    if method is None and named:
        raise WrongValue(f"{next(iter(named))}: name a method too, because not every method has it")
    for name in named:
        if name not in known[method].takes:
            takes = ", ".join(known[method].takes) or "no options"
            raise WrongValue(f"{name} means nothing to {method}, which takes {takes}; leave it out")
    if chosen["over"] == "deep_lift" and chosen["steps"]:
        raise WrongValue("steps means nothing to noise_tunnel over deep_lift; leave it out")
    return Options(**chosen)


def class_id(target: int | str | None, labels: Sequence[str], usual: int) -> int:
    """The target as a label's class_id: given by its label, or by its index.

    Raises:
        WrongValue: there is no such label.
    """
    if target is None:
        return usual
    if isinstance(target, str) and target in labels:
        return labels.index(target)
    index = int(target) if isinstance(target, int) or (target.isascii() and target.isdigit()) else -1
    if not 0 <= index < len(labels):
        raise WrongValue(f"target {target!r} is not a label{did_you_mean(str(target), labels)[:300]}, or its index")
    return index
