"""A picture and a text together: the transform from both to one sample, and the network that joins what it sees and reads.

Decoding and tokenising are those of `picture.py`, `vision.py` and `text.py`. Knows nothing of labels, or of HTTP.
"""

from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
import torchvision
from torch import Tensor, nn

from model_defs.build import did_you_mean
from model_defs.errors import WrongValue
from model_defs.json_input import JsonTransform, from_base64, shape
from model_defs.text import NgramTransform
from model_defs.vision import IMAGENET, ImageTransform, Normalize

PARTS = ("image", "text")
WHOLE = '{"image": "<base64>", "text": "..."}'


class ImageTextSample(NamedTuple):
    """A picture and a text as the network takes them.

    Args:
        pixels: (3, size, size) uint8.
        numbers: (n,) int64, of the text's n-grams.
    """

    pixels: Tensor
    numbers: Tensor


class ImageTextTransform(JsonTransform):
    """`{"image": base64, or a file's bytes, "text": text}` -> `ImageTextSample`.

    Args:
        size: of what is seen of the picture, in pixels: the square in its middle.
        ngrams, max_tokens, max_chars: of the text; see `NgramTransform`.
        max_pixels: of the picture; see `ImageTransform`.
    """

    def __init__(
        self,
        size: int = 224,
        ngrams: int = 2,
        max_tokens: int = 50_000,
        max_chars: int = 10_000,
        max_pixels: int = 50_000_000,
    ):
        self.picture = ImageTransform(size, max_pixels=max_pixels)
        self.words = NgramTransform(ngrams, max_tokens, max_chars=max_chars)

    def read(self, value: Any) -> ImageTextSample:
        """
        Raises:
            InputError: a part that is missing or too many, or cannot be used as such; see `ImageTransform` and `NgramTransform`.
        """
        if not isinstance(value, dict):
            raise WrongValue(f"the input is {shape(value)}; send {WHOLE}")
        for name in value:
            if name not in PARTS:
                raise WrongValue(f"the input has no part {name!r}{did_you_mean(name, PARTS)}")
        for name in PARTS:
            if name not in value:
                raise WrongValue(f"the input lacks {name!r}; send {WHOLE}, or a form with these fields")
            if not isinstance(value[name], str | bytes):
                raise WrongValue(f"{name!r} is {shape(value[name])}; send {WHOLE}")
        image = value["image"]
        numbers = self.words(value["text"])  # first, since it costs less
        return ImageTextSample(self.picture(image if isinstance(image, bytes) else from_base64(image, "'image'")), numbers)

    def collate(self, samples: list[ImageTextSample]) -> tuple[Tensor, Tensor, Tensor]:
        """-> pixels (B, 3, size, size), all numbers in a row (n,), and where each text begins (B,)."""
        pixels, numbers = zip(*samples, strict=True)
        return (torch.stack(pixels), *self.words.collate(list(numbers)))

    def draw(self, sample: ImageTextSample) -> np.ndarray:
        return self.picture.draw(sample.pixels)

    def facts(self) -> dict:
        return self.words.facts()

    def save(self, folder: Path) -> None:
        self.words.save(folder)

    def load(self, folder: Path) -> None:
        self.words.load(folder)


class LateFusion(nn.Module):
    """A network of torchvision that looks, a bag of n-grams that reads, and a perceptron over both and their product.

    (B, 3, H, W) uint8, (n,) int64 numbers and (B,) int64 offsets -> (B, num_classes) logits.

    Args:
        name: the network in torchvision.models, untrained.
        width: of what each part says.
        uses: "both"; or one part alone, to see what the other is worth.
        options: what else torchvision's function takes.
    """

    def __init__(
        self,
        num_classes: int,
        vocab_size: int | None = None,
        name: str = "resnet18",
        width: int = 64,
        dropout: float = 0.1,
        uses: Literal["both", "image", "text"] = "both",
        options: dict[str, Any] | None = None,
    ):
        super().__init__()
        self.uses = uses
        self.standardise = Normalize(*IMAGENET)
        self.network = torchvision.models.get_model(name, weights=None, num_classes=width, **(options or {}))
        self.embedding = nn.EmbeddingBag(vocab_size or 1, width, mode="mean")
        self.head = nn.Sequential(
            nn.Linear(3 * width, 2 * width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(2 * width, num_classes)
        )

    def forward(self, pixels: Tensor, numbers: Tensor, offsets: Tensor) -> Tensor:
        seen, read = self.network(self.standardise(pixels)), self.embedding(numbers, offsets)  # (B, width) each
        seen, read = seen * float(self.uses != "text"), read * float(self.uses != "image")
        return self.head(torch.cat([seen, read, seen * read], dim=1))
