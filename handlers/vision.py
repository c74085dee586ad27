"""Pictures: one class a task."""

from torch import Tensor

from handlers.classifier import Classifier
from handlers.request import PICTURE, Request


class ImageClassifier(Classifier):
    """A picture -> its labels, best first."""

    accepts = PICTURE

    def attributions(self, sample: Tensor, request: Request, target: int) -> dict:
        """`{"heatmap": "<base64 PNG>"}`, of the square that the network sees."""
        from handlers import explain  # Captum takes a second to import, and most workers never explain

        return {"heatmap": explain.pixels(self.eager, sample.to(self.device), target)}
