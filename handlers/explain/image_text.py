"""Explanations of a picture with a text: the weights of both, of the picture's regions and of the text's words."""

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from handlers.explain import charts, render
from handlers.explain.method import Found, rounded
from handlers.explain.subject import Subject
from handlers.explain.texts import MAX_WORDS
from handlers.explain.views import Parts, part_scores
from model_defs.errors import TooLarge
from model_defs.image_text import PARTS, ImageTextSample
from model_defs.json_input import from_base64
from model_defs.vision import GREY

CELLS = 4  # of the picture's grid, along each axis
BASELINES = ("without",)  # grey regions, words left out


class ImageTextSubject(Subject):
    """A label of a picture with a text."""

    usual: ClassVar[tuple[str, ...]] = ("kernel_shap",)

    def words(self) -> list:
        """
        Raises:
            TooLarge: more than `MAX_WORDS`.
        """
        words = self.transform.words.words_at(self.request.payload["text"])
        if len(words) > MAX_WORDS:
            raise TooLarge(f"{len(words):,} words; an explanation takes {MAX_WORDS:,} at most: send a shorter text")
        return words

    def parts(self) -> Parts:
        words = [word.token for word in self.words()]
        size = self.sample.pixels.shape[1:]

        def kept(stays: list[bool]) -> ImageTextSample:
            grid = torch.tensor(stays[: CELLS**2]).float().view(1, 1, CELLS, CELLS)
            is_seen = interpolate(grid, size, mode="nearest")[0] > 0
            some = [word for word, stay in zip(words, stays[CELLS**2 :], strict=True) if stay]
            pixels = torch.where(is_seen, self.sample.pixels, torch.full_like(self.sample.pixels, GREY))
            return ImageTextSample(pixels, self.transform.words.encode_words(some))

        return Parts(part_scores(self.outputs, self.score, kept), (CELLS**2 + len(words),))

    def names(self) -> list[str]:
        squares = [f"row {1 + index // CELLS}, column {1 + index % CELLS}" for index in range(CELLS**2)]
        return squares + [word.text for word in self.words()]

    def regions(self, found: Found) -> Tensor:
        """(height, width): each pixel's weight."""
        height, width = self.sample.pixels.shape[1:]
        grid = found.values[: CELLS**2].view(1, 1, CELLS, CELLS)
        return interpolate(grid, (height, width), mode="nearest")[0, 0] * CELLS**2 / (height * width)

    def fields(self, found: Found) -> dict:
        """`parts`: the sums of both; `heatmap` and `scale` of the picture; `words` of the text."""
        sums = found.values[: CELLS**2].sum(), found.values[CELLS**2 :].sum()
        words = [
            {"word": word.text, "start": word.start, "end": word.end, "weight": rounded(weight)}
            for word, weight in zip(self.words(), found.values[CELLS**2 :].tolist(), strict=True)
        ]
        answer = {"parts": [{"part": part, "weight": rounded(total)} for part, total in zip(PARTS, sums, strict=True)]}
        return answer | render.heatmap(self.regions(found).numpy()) | {"words": words}

    def picture(self, found: Found) -> dict:
        """`picture` and `html`, as for pictures and for texts."""
        image, text = (self.request.payload[part] for part in PARTS)
        transform = self.transform.picture
        upright, _ = transform.upright(image if isinstance(image, bytes) else from_base64(image, "'image'"), 2 * transform.size)
        drawn = render.overlay(upright, self.regions(found).numpy(), transform.region(*upright.size))
        text = text if isinstance(text, str) else text.decode()
        return {"picture": render.as_png(drawn), "html": charts.coloured_text(text, self.fields(found)["words"])}
