"""The types of answers to predictions, for the description of a model. An answer itself is a JSON value of its type.

Their shapes are those of `huggingface_hub.InferenceClient`. `model_defs/postprocess.py` makes them.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

Score = Annotated[float, Meta(description="by the function that function_to_apply names; a probability by default")]
Mask = Annotated[
    str,
    Meta(
        description="a PNG in base64, of the size of the picture, white inside",
        extra_json_schema={"contentEncoding": "base64", "contentMediaType": "image/png"},
    ),
]


class Label(msgspec.Struct):
    """A label and its score."""

    label: str
    score: Score


class Moment(msgspec.Struct):
    """The best label of one window of a sound."""

    start: Annotated[float, Meta(description="seconds")]
    end: Annotated[float, Meta(description="seconds")]
    label: str
    score: float


class Timeline(msgspec.Struct):
    """The labels of a whole sound, and the best one of each window: the answer to `timeline: true`."""

    labels: list[Label]
    timeline: list[Moment]


class Box(msgspec.Struct):
    """Corners in pixels of the picture that was sent, upright."""

    xmin: float
    ymin: float
    xmax: float
    ymax: float


class Detection(msgspec.Struct):
    """An object in a picture."""

    label: str
    score: float
    box: Box


class Segment(msgspec.Struct):
    """An object, or all pixels of one label, in a picture."""

    label: str
    score: float
    mask: Mask


class Entity(msgspec.Struct):
    """Something in a text. With `aggregation_strategy: none`, `entity` and `index` stand in the place of `entity_group`."""

    entity_group: str
    score: float
    word: str
    start: Annotated[int, Meta(description="its first character in the text")]
    end: Annotated[int, Meta(description="the character after its last one")]


class Value(msgspec.Struct):
    """A regressor's answer, in the unit of the training data."""

    value: float


class Forecast(msgspec.Struct):
    """The next values of a series, in its unit."""

    forecast: list[float]
