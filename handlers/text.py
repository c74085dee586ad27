"""Texts: one class a task."""

from handlers.classifier import Classifier
from handlers.request import TEXT


class TextClassifier(Classifier):
    """A text -> its labels, best first."""

    accepts = TEXT
