"""Texts: one class a task."""

from torch import Tensor

from handlers.classifier import Classifier
from handlers.request import TEXT, Request
from model_defs.errors import TooLarge

HUGGING_FACE = "hf_hub/"  # in the User-Agent of huggingface_hub
MOST_WORDS = 500  # that an explanation takes: its work grows with their square


class TextClassifier(Classifier):
    """A text -> its labels, best first."""

    accepts = TEXT

    def postprocess(self, output: Tensor, sample: Tensor, request: Request) -> list:
        """For huggingface_hub a list of one answer: its text_classification, alone of its kind, takes the first of a list."""
        answer = super().postprocess(output, sample, request)
        return [answer] if HUGGING_FACE in request.client else answer

    def attributions(self, sample: Tensor, request: Request, target: int) -> dict:
        """`{"words": [{"word", "weight"}, ...]}`, in the order of the text.

        Raises:
            TooLarge: more words than an explanation takes.
        """
        from handlers import explain  # Captum takes a second to import, and most workers never explain

        words = self.transform.words(request.payload)
        if len(words) > MOST_WORDS:
            raise TooLarge(f"{len(words):,} words; an explanation takes {MOST_WORDS:,} at most: send a shorter text")

        def score(kept: list[list[int]]) -> Tensor:
            return self.scores([self.transform.number([words[place] for place in places]) for places in kept], target)

        weights = explain.parts(score, len(words))
        return {"words": [{"word": word, "weight": weight} for word, weight in zip(words, weights, strict=True)]}
