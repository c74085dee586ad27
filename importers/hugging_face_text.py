"""A Hugging Face folder that classifies texts; its tokenizer, and how many tokens it reads, are for other tasks on texts, too."""

from typing import Any

import torch
from torch import Tensor, nn

from importers.found import Found, ImportRefused, Question
from importers.hugging_face_folder import Folder, quiet, with_labels
from model_defs.build import build
from model_defs.transform import Transform

MAX_TOKENS = 4096
TOKENIZER = "tokenizer.json"


def read(question: Question, folder: Folder, network: nn.Module, lines: list[str], names: list[str]) -> Found:
    tokenizer = tokenizer_of(folder)
    most = most_tokens(tokenizer, network, len(tokenizer))
    transform, reads = transform_of("model_defs.transformer.SubwordTransform", tokenizer, most)
    lines.append(f"texts: {type(tokenizer).__name__} of the folder, the first {most:,} tokens")
    spec = {
        "class_path": "model_defs.transformer.TransformersClassifier",
        "init_args": {"num_classes": len(names), "vocab_size": len(tokenizer), "pad": reads.pad, "config": folder.config},
    }

    def reference(payload: bytes) -> Tensor:
        return network(**tokenizer(payload.decode(), truncation=True, max_length=most, return_tensors="pt")).logits[0]

    return Found(
        lines=lines, network=spec, built=build(spec).eval(), transform=transform, reads=reads, labels=names,
        handler="handlers.text.TextClassifier", answer=with_labels(names), inputs="texts", reference=reference,
    )  # fmt: skip


def tokenizer_of(folder: Folder) -> Any:
    """The folder's own tokenizer.

    Raises:
        ImportRefused: it has no tokenizer.json and cannot make one, or it has no tokenizer at all. Then transformers makes one
            that knows no word.
    """
    with quiet(folder.path) as transformers:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder.path, local_files_only=True, trust_remote_code=False)
    names = sorted({TOKENIZER, *tokenizer.vocab_files_names.values()})
    if not any((folder.path / name).is_file() for name in names):
        raise ImportRefused(
            f"{folder.path} has no tokenizer, none of {', '.join(names)}; copy them from where the model was trained"
        )
    if not getattr(tokenizer, "is_fast", False):
        raise ImportRefused(
            f"{folder.path}: {type(tokenizer).__name__} has no tokenizer.json; save it again: "
            "AutoTokenizer.from_pretrained(folder).save_pretrained(folder)"
        )
    return tokenizer


def transform_of(class_path: str, tokenizer: Any, most: int, **init_args: Any) -> tuple[dict[str, Any], Transform]:
    """The spec of a `SubwordTransform` with this tokenizer, and the transform."""
    pad = {"pad_token": tokenizer.pad_token} if tokenizer.pad_token else {}
    spec = {"class_path": class_path, "init_args": {"max_tokens": most} | pad | init_args}
    reads = build(spec)
    reads.written = tokenizer.backend_tokenizer.to_str()
    return spec, reads


def most_tokens(tokenizer: Any, network: nn.Module, vocabulary: int) -> int:
    """The most tokens that both the tokenizer and the network take. A RoBERTa needs two positions for itself."""
    positions = next((getattr(network.config, name, None) for name in ("max_position_embeddings", "n_positions")), None)
    most = min(MAX_TOKENS, tokenizer.model_max_length, positions or MAX_TOKENS)
    pad = network.config.pad_token_id or 0
    for length in (most, most - pad - 1):
        try:
            with torch.inference_mode():
                network(input_ids=torch.full((1, length), (pad + 1) % vocabulary))
            return length
        except (IndexError, RuntimeError, ValueError):
            continue
    raise ImportRefused(f"a text of {most:,} tokens does not go through {type(network).__name__}; is config.json its own?")
