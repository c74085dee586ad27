"""Embeddings of texts by networks from Hugging Face. They need the extra `transformers`."""

from typing import Any

import torch
from torch import Tensor, nn

from model_defs.transformer import network_of

POOLINGS = ("mean", "cls", "max")


class TransformersEmbedding(nn.Module):
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
        super().__init__()
        if pooling not in POOLINGS:
            raise ValueError(f"pooling {pooling!r} is not one of {', '.join(POOLINGS)}")
        self.pooling, self.is_normalized = pooling, normalize
        self.network = network_of(config, 2, "AutoModel")

    def forward(self, token_ids: Tensor, mask: Tensor) -> Tensor:
        hidden = self.network(input_ids=token_ids, attention_mask=mask, return_dict=False)[0]  # (B, tokens, size)
        is_token = mask[:, :, None].to(hidden.dtype)
        if self.pooling == "cls":
            pooled = hidden[:, 0]
        elif self.pooling == "max":
            pooled = hidden.masked_fill(is_token == 0, torch.finfo(hidden.dtype).min).amax(1)
        else:
            pooled = (hidden * is_token).sum(1) / is_token.sum(1).clamp(min=1)
        return nn.functional.normalize(pooled, dim=1) if self.is_normalized else pooled
