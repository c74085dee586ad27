"""Explanations of texts: the weight of each word, with its place in the text as it was sent."""

from typing import ClassVar

import torch
from torch import Tensor

from handlers.explain import charts, render
from handlers.explain.method import Found, Unsuitable, rounded
from handlers.explain.subject import Subject
from handlers.explain.views import Dense, Parts, Rest, Scored, part_scores
from model_defs.errors import TooLarge
from model_defs.text import Word

MAX_WORDS = 500  # for an explanation, whose cost grows with the square of their number
BASELINES = ("without", "zero")  # words left out; for methods with gradients, embeddings of zeros in any case


class TextSubject(Subject):
    """A label of a text."""

    usual: ClassVar[tuple[str, ...]] = ("integrated_gradients", "shapley_values")

    def words(self) -> list[Word]:
        """
        Raises:
            TooLarge: more than `MAX_WORDS`.
        """
        words = self.transform.words_at(self.text())
        if len(words) > MAX_WORDS:
            raise TooLarge(f"{len(words):,} words; an explanation takes {MAX_WORDS:,} at most: send a shorter text")
        return words

    def text(self) -> bytes | str:
        return self.request.payload

    def dense(self) -> Dense:
        if not hasattr(self.eager, "embed"):
            raise Unsuitable("its network has no embeddings")
        inputs = [tensor.to(self.handler.device) for tensor in self.transform.collate([self.sample])]
        with torch.no_grad():
            embedded = self.eager.embed(*inputs)  # (1, tokens, dim)
        network = Scored(Rest(self.eager, inputs[1:]), self.score)
        return Dense(network, embedded, torch.zeros_like(embedded), embedded.new_zeros(0, *embedded.shape[1:]))

    def parts(self) -> Parts:
        words = [word.token for word in self.words()]

        def kept(stays: list[bool]) -> Tensor:
            return self.transform.encode_words([word for word, stay in zip(words, stays, strict=True) if stay])

        return Parts(part_scores(self.outputs, self.score, kept), (len(words),))

    def names(self) -> list[str]:
        return [word.text for word in self.words()]

    def weights(self, found: Found) -> list[float]:
        """Each word's weight. A token's is shared by the words that it covers."""
        words = self.words()
        if found.method.needs == "forwards":
            return found.values.tolist()
        weights = [0.0] * len(words)
        for weight, covered in zip(found.values.sum((0, 2)).tolist(), self.transform.covered(self.text()), strict=True):
            for index in covered:
                weights[index] += weight / len(covered)
        return weights

    def unit_weights(self, found: Found) -> Tensor:
        return torch.tensor(self.weights(found))

    def fields(self, found: Found) -> dict:
        """`words`: in the order of the text, with the place of their characters in the text as it was sent."""
        return {
            "words": [
                {"word": word.text, "start": word.start, "end": word.end, "weight": rounded(weight)}
                for word, weight in zip(self.words(), self.weights(found), strict=True)
            ]
        }

    def picture(self, found: Found) -> dict:
        """`html`: the text with coloured words; `picture`: a PNG of the same words."""
        text = self.text()
        text = text if isinstance(text, str) else text.decode()
        words = self.fields(found)["words"]
        return {"html": charts.coloured_text(text, words), "picture": render.as_png(charts.words_in_lines(words))}
