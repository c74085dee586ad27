"""Sounds: one class a task."""

from typing import Annotated

from msgspec import Meta
from torch import Tensor

from handlers.classifier import Classifier, ClassifierParameters
from handlers.request import SOUND, Request
from model_defs import postprocess
from model_defs.errors import WrongValue

MOMENTS = 20  # that an explanation divides the sound into


class AudioParameters(ClassifierParameters):
    """What a caller may ask of a classifier of sounds."""

    timeline: Annotated[bool, Meta(description="whether to answer for each window of the sound, too")] = False


class AudioClassifier(Classifier):
    """A sound -> its labels, best first: the mean of its windows' scores, where it is heard in several."""

    accepts = SOUND
    Parameters = AudioParameters

    def preprocess(self, request: Request) -> Tensor:
        """
        Raises:
            WrongValue: a timeline is wanted of a model that hears one window.
        """
        if request.parameters.timeline and self.transform.windows == 1:
            raise WrongValue("timeline: this model hears one window of a sound, so there is no more to tell; leave it out")
        return super().preprocess(request)

    def postprocess(self, output: Tensor, sample: Tensor, request: Request) -> list[dict] | dict:
        """With a timeline `{"labels": [{"label", "score"}, ...], "timeline": [{"start", "end", "label", "score"}, ...]}`, the
        moments in seconds and in their order, each with the label that is best there."""
        labels = super().postprocess(output, sample, request)
        if not request.parameters.timeline:
            return labels
        found = [postprocess.top(window, self.labels, 1, request.parameters.function_to_apply)[0] for window in output]
        spans = zip(self.transform.spans(sample), found, strict=True)
        return {"labels": labels, "timeline": [{"start": start, "end": end} | best for (start, end), best in spans]}

    def attributions(self, sample: Tensor, request: Request, target: int) -> dict:
        """`{"moments": [{"start", "end", "weight"}, ...]}`, in seconds of what the network hears."""
        from handlers import explain  # Captum takes a second to import, and most workers never explain

        edges = [round(place * len(sample) / MOMENTS) for place in range(MOMENTS + 1)]

        def score(kept: list[list[int]]) -> Tensor:
            silenced = []
            for moments in kept:
                waveform = sample.clone()
                for moment in set(range(MOMENTS)) - set(moments):
                    waveform[edges[moment] : edges[moment + 1]] = 0
                silenced.append(waveform)
            return self.scores(silenced, target)

        weights = explain.parts(score, MOMENTS)
        seconds = [round(edge / self.transform.sample_rate, 4) for edge in edges]
        moments = zip(seconds[:-1], seconds[1:], weights, strict=True)
        return {"moments": [{"start": start, "end": end, "weight": weight} for start, end, weight in moments]}
