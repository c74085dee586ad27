"""Sounds: one class a task."""

from torch import Tensor

from handlers.classifier import Classifier
from handlers.request import SOUND, Request

MOMENTS = 20  # that an explanation divides the sound into


class AudioClassifier(Classifier):
    """A sound -> its labels, best first."""

    accepts = SOUND

    def attributions(self, sample: Tensor, request: Request, target: int) -> dict:
        """`{"moments": [{"start", "end", "weight"}, ...]}`, in seconds of the window that the network hears."""
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
