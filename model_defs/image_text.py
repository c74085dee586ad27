"""A picture and a text together: the transform from both to one sample, and a late-fusion classifier.

`vision.py` decodes the picture, and `text.py` the text.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
import torchvision
from torch import Tensor, nn

from model_defs.build import did_you_mean
from model_defs.errors import WrongValue
from model_defs.json_input import JsonTransform, described, from_base64
from model_defs.text import NgramTransform
from model_defs.vision import GREY, IMAGENET, ImageTransform, Normalize

PARTS = ("image", "text")
WHOLE = '{"image": "<base64>", "text": "..."}'


class ImageTextSample(NamedTuple):
    """A picture and a text as the network takes them.

    Args:
        pixels: (3, size, size) uint8.
        token_ids: (n,) int64, of the text's n-grams.
    """

    pixels: Tensor
    token_ids: Tensor


class ImageTextTransform(JsonTransform):
    """`{"image": base64 or a file's bytes, "text": text}` -> `ImageTextSample`.

    Args:
        size: of the square in the picture's centre that the network sees, in pixels.
        ngrams, max_tokens, max_chars: for the text; see `NgramTransform`.
        max_pixels: for the picture; see `ImageTransform`.
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

    def to_sample(self, value: Any) -> ImageTextSample:
        """
        Raises:
            InputError: a part is missing or unknown, or its own transform refuses it; see `ImageTransform` and `NgramTransform`.
        """
        if not isinstance(value, dict):
            raise WrongValue(f"the input is {described(value)}; send {WHOLE}")
        for name in value:
            if name not in PARTS:
                raise WrongValue(f"the input has no part {name!r}{did_you_mean(name, PARTS)}")
        for name in PARTS:
            if name not in value:
                raise WrongValue(f"the input lacks {name!r}; send {WHOLE}, or a form with these fields")
            if not isinstance(value[name], str | bytes):
                raise WrongValue(f"{name!r} is {described(value[name])}; send {WHOLE}")
        image = value["image"]
        token_ids = self.words(value["text"])  # first, because it costs less
        return ImageTextSample(self.picture(image if isinstance(image, bytes) else from_base64(image, "'image'")), token_ids)

    def without(self, sample: ImageTextSample, parts: Iterable[int]) -> ImageTextSample:
        """The same sample with these of the `PARTS` left out: a grey picture, a text of one unknown word."""
        removed = {PARTS[part] for part in parts}
        return ImageTextSample(
            torch.full_like(sample.pixels, GREY) if "image" in removed else sample.pixels,
            self.words.encode_words([]) if "text" in removed else sample.token_ids,
        )

    def collate(self, samples: list[ImageTextSample]) -> tuple[Tensor, Tensor, Tensor]:
        """-> pixels (B, 3, size, size), all texts' token ids (n,), and the offset of each text (B,)."""
        pixels, token_ids = zip(*samples, strict=True)
        return (torch.stack(pixels), *self.words.collate(list(token_ids)))

    def draw(self, sample: ImageTextSample) -> np.ndarray:
        return self.picture.draw(sample.pixels)

    def schema(self) -> dict[str, Any]:
        image = {"type": "string", "contentEncoding": "base64", "contentMediaType": "image/*"}
        properties = {"image": image, "text": {"type": "string"}}
        return {"type": "object", "properties": properties, "required": [*PARTS], "additionalProperties": False}

    def facts(self) -> dict:
        return self.words.facts()

    def save(self, folder: Path) -> None:
        self.words.save(folder)

    def load(self, folder: Path) -> None:
        self.words.load(folder)


class LateFusion(nn.Module):
    """A torchvision network for the picture, a bag of n-grams for the text, and an MLP over both and their product.

    (B, 3, H, W) uint8, (n,) int64 token ids and (B,) int64 offsets -> (B, num_classes) logits.

    Args:
        name: the network in `torchvision.models`, untrained.
        width: of each part's features.
        uses: "both", or one part alone, to measure what the other part adds.
        options: other arguments of torchvision's function.
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
        self.normalize = Normalize(*IMAGENET)
        self.network = torchvision.models.get_model(name, weights=None, num_classes=width, **(options or {}))
        self.embedding = nn.EmbeddingBag(vocab_size or 1, width, mode="mean")
        self.head = nn.Sequential(
            nn.Linear(3 * width, 2 * width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(2 * width, num_classes)
        )

    def forward(self, pixels: Tensor, token_ids: Tensor, offsets: Tensor) -> Tensor:
        image, text = self.network(self.normalize(pixels)), self.embedding(token_ids, offsets)  # (B, width) each
        image, text = image * float(self.uses != "text"), text * float(self.uses != "image")
        return self.head(torch.cat([image, text, image * text], dim=1))  # (B, 3 width) -> (B, num_classes)
