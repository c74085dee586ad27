"""Texts: the handler of text classifiers."""

from collections.abc import Collection

from torch import Tensor

from handlers.classifier import Classifier
from handlers.request import Kind, Request
from model_defs.errors import TooLarge

TEXT = Kind("a text", ("text/",), "send UTF-8: curl -H 'Content-Type: text/plain' -d 'the text' URL", is_text=True)
HUGGING_FACE = "hf_hub/"  # in the User-Agent header of huggingface_hub
MOST_WORDS = 500  # for an explanation, whose cost grows with the square of their number


class TextClassifier(Classifier):
    """A text -> its labels, best first."""

    accepts = TEXT

    def postprocess(self, output: Tensor, sample: Tensor, request: Request) -> list:
        """huggingface_hub gets a list with the answer in it: its `text_classification` takes the first entry of a list."""
        answer = super().postprocess(output, sample, request)
        return [answer] if HUGGING_FACE in request.client else answer

    def attributions(self, sample: Tensor, request: Request, target: int) -> dict:
        """`{"words": [{"word", "weight"}, ...]}`, in the order of the text.

        Raises:
            TooLarge: more than `MOST_WORDS`.
        """
        words = self.transform.words(request.payload)
        if len(words) > MOST_WORDS:
            raise TooLarge(f"{len(words):,} words; an explanation takes {MOST_WORDS:,} at most: send a shorter text")

        def without(sample: Tensor, removed: Collection[int]) -> Tensor:
            return self.transform.encode_words([word for index, word in enumerate(words) if index not in removed])

        weights = self.part_weights(sample, len(words), without, target)
        return {"words": [{"word": word, "weight": weight} for word, weight in zip(words, weights, strict=True)]}
