"""Sounds: one class a task."""

from handlers.classifier import Classifier
from handlers.request import SOUND


class AudioClassifier(Classifier):
    """A sound -> its labels, best first."""

    accepts = SOUND
