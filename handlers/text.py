"""Texts: the handler of text classifiers."""

from torch import Tensor

from handlers.classifier import TARGET, Classifier
from handlers.explain.methods import FORWARDS, METHODS
from handlers.explain.parameters import parameters
from handlers.explain.texts import BASELINES, TextSubject
from handlers.request import Kind, Request

TEXT = Kind("a text", ("text/",), "send UTF-8: curl -H 'Content-Type: text/plain' -d 'the text' URL", is_text=True)
HUGGING_FACE = "hf_hub/"  # in the User-Agent header of huggingface_hub
BY_GRADIENTS = ("integrated_gradients", "deep_lift", "noise_tunnel")  # on the embeddings of the words


class TextClassifier(Classifier):
    """A text -> its labels, best first."""

    accepts = TEXT
    ExplanationParameters = parameters("TextClassifier", [*BY_GRADIENTS, *FORWARDS], METHODS, BASELINES, TARGET)
    explains = TextSubject

    def postprocess(self, output: Tensor, sample: Tensor, request: Request) -> list:
        """huggingface_hub gets a list with the answer in it: its `text_classification` takes the first entry of a list."""
        answer = super().postprocess(output, sample, request)
        return [answer] if HUGGING_FACE in request.client else answer
