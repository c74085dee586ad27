"""From tensors to what the wire says, in the shapes that huggingface_hub's InferenceClient expects."""

import torch
from torch import Tensor

from handlers.batch import Refusal

SCORES = {"softmax": lambda logits: logits.softmax(-1), "sigmoid": torch.sigmoid, "none": lambda logits: logits}


def top(logits: Tensor, labels: list[str], top_k: int, function: str = "softmax") -> list[dict]:
    """(num_classes,) logits -> `[{"label", "score"}, ...]`, best first, at most `top_k`.

    Raises:
        Refusal: a score is NaN or infinite, which JSON cannot hold.
    """
    scores, places = SCORES[function](logits).topk(min(top_k, len(labels)))
    if not scores.isfinite().all():
        raise Refusal(500, "the model gave scores that are not finite numbers")
    return [{"label": labels[place], "score": score} for place, score in zip(places.tolist(), scores.tolist(), strict=True)]
