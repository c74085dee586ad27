"""Sounds: the handler of audio classifiers."""

from collections.abc import Iterable
from typing import Annotated

from msgspec import Meta
from torch import Tensor

from handlers.classifier import Classifier, ClassifierParameters
from handlers.predictions import Label, Timeline
from handlers.request import Kind, Request
from model_defs import postprocess
from model_defs.errors import WrongValue

SOUND = Kind("a sound", ("audio/", "video/"), "send the bytes of a WAV, FLAC, OGG or MP3 file: curl -T sound.wav URL")
MOMENTS = 20  # parts of a sound in an explanation


class AudioParameters(ClassifierParameters):
    """An audio classifier's parameters."""

    timeline: Annotated[bool, Meta(description="whether to answer for each window of the sound, too")] = False


class AudioClassifier(Classifier):
    """A sound -> its labels, best first. With several windows, a score is the mean over them."""

    accepts = SOUND
    Parameters = AudioParameters
    Prediction = list[Label] | Timeline

    def preprocess(self, request: Request) -> Tensor:
        """
        Raises:
            WrongValue: the caller wants a timeline, but the model has one window.
        """
        if request.parameters.timeline and self.transform.windows == 1:
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

    def attributions(self, sample: Tensor, request: Request, target: int) -> dict:
        """`{"moments": [{"start", "end", "weight"}, ...]}`, in seconds of the sound that the network hears."""
        edges = [round(moment * len(sample) / MOMENTS) for moment in range(MOMENTS + 1)]

        def silenced(sample: Tensor, moments: Iterable[int]) -> Tensor:
            waveform = sample.clone()
            for moment in moments:
                waveform[edges[moment] : edges[moment + 1]] = 0
            return waveform

        weights = self.part_weights(sample, MOMENTS, silenced, target)
        seconds = [round(edge / self.transform.sample_rate, 4) for edge in edges]
        spans = zip(seconds[:-1], seconds[1:], weights, strict=True)
        return {"moments": [{"start": start, "end": end, "weight": weight} for start, end, weight in spans]}
