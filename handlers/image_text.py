"""A picture and a text together: one class a task."""

import torch
from torch import Tensor

from handlers.classifier import Classifier
from handlers.request import Kind, Request
from model_defs.image_text import PARTS, WHOLE, ImageTextSample

PICTURE_AND_TEXT = Kind(
    "a picture and a text",
    ("text/",),
    f"""send {{"inputs": {WHOLE}}} as JSON, or a form: curl -F image=@picture.jpg -F 'text=what is this?' URL""",
    is_json=True,
    parts=PARTS,
)
GREY = 127  # for a picture that is not to be seen


class ImageTextClassifier(Classifier):
    """A picture and a text -> their labels, best first."""

    accepts = PICTURE_AND_TEXT

    def attributions(self, sample: ImageTextSample, request: Request, target: int) -> dict:
        """`{"parts": [{"part", "weight"}, ...]}`: how far the label's score falls without the picture, and without the text."""
        from handlers import explain  # Captum takes a second to import, and most workers never explain

        def score(kept: list[list[int]]) -> Tensor:
            blind, mute = torch.full_like(sample.pixels, GREY), torch.tensor([0])
            return self.scores(
                [ImageTextSample(sample.pixels if 0 in one else blind, sample.numbers if 1 in one else mute) for one in kept],
                target,
            )

        weights = explain.parts(score, len(PARTS))
        return {"parts": [{"part": part, "weight": weight} for part, weight in zip(PARTS, weights, strict=True)]}
