"""A Hugging Face folder that classifies the tokens of a text."""

from torch import Tensor, nn

from importers.found import Found, Question
from importers.hugging_face_folder import Folder
from importers.hugging_face_text import most_tokens, tokenizer_of, transform_of
from model_defs.build import build
from model_defs.transformers_tokens import entities


def read(question: Question, folder: Folder, network: nn.Module, lines: list[str], names: list[str]) -> Found:
    tokenizer = tokenizer_of(folder)
    most = most_tokens(tokenizer, network, len(tokenizer))
    transform, reads = transform_of("model_defs.transformers_tokens.TokenTransform", tokenizer, most)
    lines.append(
        f"texts: {type(tokenizer).__name__} of the folder, the first {most:,} tokens; neighbours of one label are one entity"
    )
    spec = {
        "class_path": "model_defs.transformers_tokens.TransformersTokenClassifier",
        "init_args": {"num_classes": len(names), "config": folder.config},
    }

    def reference(payload: bytes) -> Tensor:
        return network(**tokenizer(payload.decode(), truncation=True, max_length=most, return_tensors="pt")).logits[0]

    return Found(
        lines=lines, network=spec, built=build(spec).eval(), transform=transform, reads=reads, labels=names,
        handler="handlers.tokens.TokenClassifier", inputs="texts", metric="", reference=reference,
        answer=lambda output, sample: entities(output, sample, names, reads.joined),
    )  # fmt: skip
