"""A picture and a text together: the handler of their classifiers."""

from handlers.classifier import Classifier
from handlers.request import Kind, Request
from model_defs.image_text import PARTS, WHOLE, ImageTextSample

PICTURE_AND_TEXT = Kind(
    "a picture and a text",
    ("text/",),
    f"""send {{"inputs": {WHOLE}}} as JSON, or a form: curl -F image=@picture.jpg -F 'text=what is this?' URL""",
    is_json=True,
    parts=PARTS,
    tensors="columns",
)


class ImageTextClassifier(Classifier):
    """A picture and a text -> their labels, best first."""

    accepts = PICTURE_AND_TEXT

    def attributions(self, sample: ImageTextSample, request: Request, target: int) -> dict:
        """`{"parts": [{"part", "weight"}, ...]}`: how much the score falls without the picture, and without the text."""
        weights = self.part_weights(sample, len(PARTS), self.transform.without, target)
        return {"parts": [{"part": part, "weight": weight} for part, weight in zip(PARTS, weights, strict=True)]}
