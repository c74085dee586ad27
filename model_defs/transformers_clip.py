"""Pictures compared with labels that come with the request, by CLIP. It needs the extra `transformers`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from model_defs.errors import WrongValue
from model_defs.transformer import SubwordTransform, network_of
from model_defs.transformers_image import TORCHVISION, ProcessedImageTransform
from model_defs.vision import Normalize

TEMPLATE = "This is a photo of {}."  # transformers' own
BLANK = "{}"


class LabelledSample(NamedTuple):
    """A picture and the labels that it is compared with.

    Args:
        pixels: (3, H, W).
        labels: as the caller wrote them.
        prompts: the same within the template, one per label.
    """

    pixels: Tensor
    labels: list[str]
    prompts: list[str]


class ZeroShotTransform(ProcessedImageTransform):
    """Picture file, and labels -> LabelledSample. Both the folder's image processor and its tokenizer are kept.

    Args:
        labels: where the request has none.
        max_tokens: of a label within the template; what is longer is cut.
        pad_token: as in `SubwordTransform`.
        upright, backend: as in `ProcessedImageTransform`.
    """

    parameters = ("candidate_labels", "hypothesis_template")

    def __init__(
        self,
        labels: list[str],
        max_tokens: int = 77,
        pad_token: str | None = None,
        upright: bool = True,
        backend: str = TORCHVISION,
    ):
        super().__init__(upright, backend)
        self.labels = labels
        self.texts = SubwordTransform(max_tokens, pad_token=pad_token)

    def __call__(
        self, payload: bytes, candidate_labels: list[str] | None = None, hypothesis_template: str | None = None
    ) -> LabelledSample:
        """
        Raises:
            WrongValue: a template without a place for the label.
            errors of `ConvertedImageTransform.converted`.
        """
        template = TEMPLATE if hypothesis_template is None else hypothesis_template
        if BLANK not in template:
            raise WrongValue(f"hypothesis_template: {template!r} has no {BLANK}, where the label goes: {TEMPLATE!r}")
        labels = self.labels if candidate_labels is None else candidate_labels
        return LabelledSample(super().__call__(payload), labels, [template.replace(BLANK, label) for label in labels])

    def collate(self, samples: list[LabelledSample]) -> tuple[Tensor, Tensor, Tensor]:
        """-> pixels (B, 3, H, W), and of all different prompts the token ids (N, longest) and the mask (N, longest)."""
        token_ids, mask = self.texts.collate([self.texts.encode(prompt) for prompt in different(samples)])
        return torch.stack([sample.pixels for sample in samples]), token_ids, mask

    def outputs(self, network: Callable[[tuple[Tensor, ...]], Tensor], samples: list[LabelledSample]) -> list[Tensor]:
        """One output per sample: (its labels,)."""
        columns = different(samples)
        logits = network(self.collate(samples))  # (B, N)
        return [row[[columns[prompt] for prompt in sample.prompts]] for row, sample in zip(logits, samples, strict=True)]

    def draw(self, sample: LabelledSample):
        return super().draw(sample.pixels)

    def save(self, folder: Path) -> None:
        super().save(folder)
        self.texts.save(folder)

    def load(self, folder: Path) -> None:
        super().load(folder)
        self.texts.load(folder)


def different(samples: list[LabelledSample]) -> dict[str, int]:
    """All prompts of the samples, each once, with its number."""
    return {prompt: index for index, prompt in enumerate(dict.fromkeys(one for sample in samples for one in sample.prompts))}


class TransformersClip(nn.Module):
    """CLIP with random weights: pixels (B, 3, H, W) in 0..255, token ids (N, tokens) and their mask -> (B, N) logits.

    Args:
        config: the contents of a Hugging Face `config.json`.
        mean, std: per channel, for pixels in 0..1.

    Raises:
        SpecError: the package is not installed, or has no such network.
    """

    def __init__(self, config: dict[str, Any], mean: list[float], std: list[float]):
        super().__init__()
        self.normalize = Normalize(mean, std)
        self.network = network_of(config, 2, "AutoModelForZeroShotImageClassification")

    def forward(self, pixels: Tensor, token_ids: Tensor, mask: Tensor) -> Tensor:
        given = {"pixel_values": self.normalize(pixels), "input_ids": token_ids, "attention_mask": mask}
        return self.network(**given, return_dict=True).logits_per_image
