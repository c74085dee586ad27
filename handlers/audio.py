"""Sounds: the handler of audio classifiers."""

from typing import Annotated

from msgspec import Meta
from torch import Tensor

from handlers.classifier import TARGET, Classifier, ClassifierParameters
from handlers.explain.methods import FORWARDS, GRADIENTS, LAYERS, METHODS
from handlers.explain.parameters import parameters
from handlers.explain.sounds import BASELINES, SoundSubject
from handlers.predictions import Label, Timeline
from handlers.request import Kind, Request
from model_defs import postprocess
from model_defs.errors import WrongValue

SOUND = Kind("a sound", ("audio/", "video/"), "send the bytes of a WAV, FLAC, OGG or MP3 file: curl -T sound.wav URL")


class AudioParameters(ClassifierParameters):
    """An audio classifier's parameters."""

    timeline: Annotated[bool, Meta(description="whether to answer for each window of the sound, too")] = False


class AudioClassifier(Classifier):
    """A sound -> its labels, best first. With several windows, a score is the mean over them."""

    accepts = SOUND
    Parameters = AudioParameters
    Prediction = list[Label] | Timeline
    ExplanationParameters = parameters("AudioClassifier", [*GRADIENTS, *LAYERS, *FORWARDS], METHODS, BASELINES, TARGET)
    explains = SoundSubject
    takes_backgrounds = True

    def preprocess(self, request: Request) -> Tensor:
        """
        Raises:
            WrongValue: the caller wants a timeline, but the model has one window.
        """
        if not request.explain and request.parameters.timeline and self.transform.windows == 1:
            raise WrongValue("timeline: this model hears one window of a sound, so there is no more to tell; leave it out")
        return super().preprocess(request)

    def postprocess(self, output: Tensor, sample: Tensor, request: Request) -> list[dict] | dict:
        """With a timeline: `{"labels": [{"label", "score"}, ...], "timeline": [{"start", "end", "label", "score"}, ...]}`.

        The timeline has one entry per window, in order, with its best label. Times are in seconds.
        """
        labels = super().postprocess(output, sample, request)
        if not request.parameters.timeline:
            return labels
        found = [postprocess.top(window, self.labels, 1, request.parameters.function_to_apply)[0] for window in output]
        spans = zip(self.transform.spans(sample), found, strict=True)
        return {"labels": labels, "timeline": [{"start": start, "end": end} | best for (start, end), best in spans]}
