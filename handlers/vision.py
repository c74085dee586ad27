"""Pictures: one class a task."""

from handlers.classifier import Classifier
from handlers.request import PICTURE


class ImageClassifier(Classifier):
    """A picture -> its labels, best first."""

    accepts = PICTURE
