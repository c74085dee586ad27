"""Texts for a network from an ONNX file. They need the extra `transformers`."""

from collections.abc import Callable

import torch
from torch import Tensor

from model_defs.onnx_network import as_logits
from model_defs.transformer import SubwordTransform

IDS, MASK, TYPES = "input_ids", "attention_mask", "token_type_ids"  # as transformers names a network's inputs


class OnnxTextTransform(SubwordTransform):
    """`SubwordTransform`, whose batches are the inputs that the file names.

    Args:
        inputs: their names, in the file's order.
        gives_probabilities: whether its outputs are probabilities rather than logits.
        arguments: of `SubwordTransform`.
    """

    def __init__(self, inputs: list[str], gives_probabilities: bool = False, max_tokens: int = 512, pad_token: str | None = None):
        super().__init__(max_tokens, pad_token=pad_token)
        self.inputs, self.gives_probabilities = inputs, gives_probabilities

    def collate(self, samples: list[Tensor]) -> tuple[Tensor, ...]:
        """(n,) token ids each -> (B, longest) each, int64."""
        token_ids, mask = super().collate(samples)
        known = {IDS: token_ids, MASK: mask, TYPES: torch.zeros_like(token_ids)}
        return tuple(known[name] for name in self.inputs)

    def outputs(self, network: Callable[[tuple[Tensor, ...]], Tensor], samples: list[Tensor]) -> list[Tensor]:
        return as_logits(super().outputs(network, samples), self.gives_probabilities)
