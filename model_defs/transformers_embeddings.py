"""Embeddings of texts by networks from Hugging Face. They need the extra `transformers`."""

from typing import Any

import torch
from torch import Tensor, nn

from model_defs.transformer import TokenNetwork, network_of

POOLINGS = ("mean", "cls", "max")


class TransformersEmbedding(TokenNetwork):
    """Any network of `transformers` without a head, with random weights, and the pooling over a text's tokens.

    (B, tokens) int64 token ids and (B, tokens) int64 attention mask -> (B, size).

    Args:
        config: the contents of a Hugging Face `config.json`; it needs `model_type`.
        pooling: "mean" of the tokens, "max" of them, or "cls", the first one.
        normalize: whether a vector has the length 1.

    Raises:
        SpecError: the package is not installed, or has no such network.
        ValueError: another pooling.
    """

    def __init__(self, config: dict[str, Any], pooling: str = "mean", normalize: bool = False):
        if pooling not in POOLINGS:
            raise ValueError(f"pooling {pooling!r} is not one of {', '.join(POOLINGS)}")
        super().__init__(network_of(config, 2, "AutoModel"))
        self.pooling, self.is_normalized = pooling, normalize

    def forward(self, token_ids: Tensor, mask: Tensor) -> Tensor:
        return self.pooled(super().forward(token_ids, mask), mask)

    def from_embedded(self, embedded: Tensor, mask: Tensor) -> Tensor:
        """The rest of `forward`."""
        return self.pooled(super().from_embedded(embedded, mask), mask)

    def pooled(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """(B, tokens, size) -> (B, size)."""
        is_token = mask[:, :, None].to(hidden.dtype)
        if self.pooling == "cls":
            pooled = hidden[:, 0]
        elif self.pooling == "max":
            pooled = hidden.masked_fill(is_token == 0, torch.finfo(hidden.dtype).min).amax(1)
        else:
            pooled = (hidden * is_token).sum(1) / is_token.sum(1).clamp(min=1)
        return nn.functional.normalize(pooled, dim=1) if self.is_normalized else pooled
