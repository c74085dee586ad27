"""Texts whose tokens are classified, such as names in a sentence, by networks from Hugging Face. They need the extra
`transformers`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from model_defs.postprocess import check_finite
from model_defs.text import decode_text
from model_defs.transformer import SubwordTransform, TokenNetwork, network_of

IGNORED = ("O",)  # the label of a token that is part of nothing
HIDING = ("[MASK]", "<mask>")  # BERT's and RoBERTa's name of the token in the place of a hidden one


@dataclass
class TokenSample:
    """A text as tokens.

    Args:
        token_ids: (n,) int64.
        words: n texts of tokens, as the tokenizer has them.
        spans: n pairs: the first character of the text that a token covers, and the one after the last.
        are_special: n numbers: 1 for a token that the tokenizer adds.
        text: the whole.
    """

    token_ids: Tensor
    words: list[str]
    spans: list[tuple[int, int]]
    are_special: list[int]
    text: str

    def __len__(self) -> int:
        return len(self.token_ids)


class TokenTransform(SubwordTransform):
    """UTF-8 text -> TokenSample. Its outputs are (n, num_classes), without the padding."""

    def __call__(self, payload: bytes | str) -> TokenSample:
        """For the errors see `SubwordTransform`."""
        text = decode_text(payload, self.max_chars)
        self.encode(text)  # refuses an empty one
        found = self.tokenizer.encode(text)
        unknown = getattr(self.tokenizer.model, "unk_token", None)
        spans = [tuple(span) for span in found.offsets]
        words = [text[begin:end] if word == unknown else word for word, (begin, end) in zip(found.tokens, spans, strict=True)]
        return TokenSample(torch.tensor(found.ids), words, spans, found.special_tokens_mask, text)

    def collate(self, samples: list[TokenSample]) -> tuple[Tensor, Tensor]:
        return super().collate([sample.token_ids for sample in samples])

    def outputs(self, network: Callable[[tuple[Tensor, ...]], Tensor], samples: list[TokenSample]) -> list[Tensor]:
        given = super().outputs(network, samples)
        return [output[: len(sample)] for output, sample in zip(given, samples, strict=True)]

    def hidden(self, sample: TokenSample, places: list[int]) -> TokenSample:
        """The sample with some tokens hidden. The others keep their places, so that their labels can be compared."""
        token_ids = sample.token_ids.clone()
        token_ids[places] = self.hiding
        return replace(sample, token_ids=token_ids)

    @property
    def hiding(self) -> int:
        """The id of the token that hides another: the mask's, or that of an unknown word, or the padding's."""
        names = (*HIDING, getattr(self.tokenizer.model, "unk_token", None))
        found = (self.tokenizer.token_to_id(name) for name in names if name)
        return next((token_id for token_id in found if token_id is not None), self.pad)

    def joined(self, words: list[str]) -> str:
        """Some tokens that follow each other, as text."""
        return self.tokenizer.decoder.decode(words) if self.tokenizer.decoder else " ".join(words)


class TransformersTokenClassifier(TokenNetwork):
    """Any network of `transformers` for token classification, with random weights.

    (B, tokens) int64 token ids and (B, tokens) int64 attention mask -> (B, tokens, num_classes) logits.

    Args:
        config: the contents of a Hugging Face `config.json`; it needs `model_type`.

    Raises:
        SpecError: the package is not installed, or has no such network.
    """

    def __init__(self, num_classes: int, config: dict[str, Any]):
        super().__init__(network_of(config, num_classes, "AutoModelForTokenClassification"))


def entities(logits: Tensor, sample: TokenSample, labels: list[str], joined: Callable[[list[str]], str] | None) -> list[dict]:
    """A text's (n, num_classes) -> what is in it, in the order of the text, as `transformers.pipeline` answers.

    Args:
        joined: tokens -> text, for `[{"entity_group", "score", "word", "start", "end"}, ...]`: neighbours with one label are one
            entity, unless the label begins with "B-". None gives `[{"entity", "score", "index", "word", "start", "end"},
            ...]`, one per token.

    Raises:
        OutputError: a number is NaN or infinite.
    """
    tokens = labelled(logits, sample, labels)
    if joined is None:
        return [token for token in tokens if token["entity"] not in IGNORED]
    return [together(group, joined) for group in groups(tokens)]


def labelled(logits: Tensor, sample: TokenSample, labels: list[str]) -> list[dict]:
    """Each token of the text with its best label. For the error see `entities`."""
    check_finite(logits)
    scores, class_ids = logits.softmax(-1).max(-1)
    return [
        {"entity": labels[class_id], "score": score, "index": index, "word": word, "start": span[0], "end": span[1]}
        for index, (class_id, score, word, span, is_special) in enumerate(
            zip(class_ids.tolist(), scores.tolist(), sample.words, sample.spans, sample.are_special, strict=True)
        )
        if not is_special
    ]


def groups(tokens: list[dict]) -> list[list[dict]]:
    """The tokens of each entity."""
    found: list[list[dict]] = []
    for token in tokens:
        is_same = found and tag(token["entity"]) == tag(found[-1][-1]["entity"]) and not token["entity"].startswith("B-")
        found[-1].append(token) if is_same else found.append([token])
    return [group for group in found if kind(group[0]["entity"]) not in IGNORED]


def tag(label: str) -> str:
    """ "B-PER" and "I-PER" -> "PER"."""
    return label[2:] if label.startswith(("B-", "I-")) else label


def kind(label: str) -> str:
    """ "B-PER" -> "PER": what an entity with this label is called."""
    return label.split("-", 1)[-1]


def together(group: list[dict], joined: Callable[[list[str]], str]) -> dict:
    return {
        "entity_group": kind(group[0]["entity"]),
        "score": sum(token["score"] for token in group) / len(group),
        "word": joined([token["word"] for token in group]),
        "start": group[0]["start"],
        "end": group[-1]["end"],
    }
