"""Texts as subword tokens, and Hugging Face's transformers as classifiers. They need the extra `transformers`.

The tokenizer is from the `tokenizers` package, in its own JSON file. The `transformers` package is imported only when a network
is built.
"""

import importlib
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from model_defs.build import SpecError
from model_defs.errors import WrongValue, first_line
from model_defs.padding import PaddedTransform, padded
from model_defs.text import Word, decode_text, without_mark

PAD_TOKENS = ("[PAD]", "<pad>")  # BERT's and RoBERTa's name for it
SMALL = {  # a BERT of 0.4 million weights, without the token embeddings
    "model_type": "bert",
    "hidden_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 512,
    "max_position_embeddings": 512,
}
NOT_FOR_THE_NETWORK = (  # keys of a `config.json` that describe its training or its labels, or whose code runs
    "architectures", "id2label", "label2id", "num_labels", "problem_type", "_name_or_path", "torch_dtype", "dtype",
    "attn_implementation", "_attn_implementation", "_attn_implementation_internal", "_attn_implementation_autoset",
    "experts_implementation", "_experts_implementation", "auto_map", "use_kernels",
)  # fmt: skip


def extra(package: str) -> ModuleType:
    """Import a package of the extra.

    Raises:
        SpecError: it is not installed.
    """
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise SpecError(f"this model needs {error.name}, which is not installed: make setup EXTRAS=transformers") from error


class SubwordTransform(PaddedTransform):
    """UTF-8 text -> (n,) int64: the ids of its subword tokens.

    Args:
        max_tokens: the tokens after so many are not read. The network must have this many positions or more.
        vocab_size: the size of the tokenizer that training makes if none is given.
        max_chars: a longer text is refused.
        pad_token: the text of the padding token, where it is not one of `PAD_TOKENS`.
    """

    FILE = "tokenizer.json"  # in the tokenizers package's format

    def __init__(self, max_tokens: int = 128, vocab_size: int = 8_000, max_chars: int = 100_000, pad_token: str | None = None):
        self.max_tokens, self.vocab_size, self.max_chars = max_tokens, vocab_size, max_chars
        self.pad_tokens = PAD_TOKENS if pad_token is None else (pad_token,)
        self.tokenizer: Any = None

    @property
    def written(self) -> str:
        """The tokenizer as JSON. Setting it makes the tokenizer."""
        return self.tokenizer.to_str(pretty=True)

    @written.setter
    def written(self, text: str) -> None:
        extra("tokenizers")
        from tokenizers import Tokenizer  # a plain import, which the archive's bill of materials sees

        self.tokenizer = Tokenizer.from_str(text)
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(self.max_tokens)

    def __call__(self, payload: bytes | str) -> Tensor:
        """
        Raises:
            Unreadable: not UTF-8.
            TooLarge: more than `max_chars` characters.
            WrongValue: an empty text, or half of a surrogate pair.
        """
        return self.encode(decode_text(payload, self.max_chars))

    def encode(self, text: str) -> Tensor:
        """Text -> (n,) int64 token ids, with the special tokens that the tokenizer adds.

        Raises:
            WrongValue: the text is empty.
        """
        token_ids = self.tokenizer.encode(text).ids if text.strip() else []
        if not token_ids:
            raise WrongValue("the text is empty; send at least one word")
        return torch.tensor(token_ids)

    def words(self, payload: bytes | str) -> list[str]:
        """The text's words, which an explanation weighs. Raises the errors of `__call__`."""
        text = decode_text(payload, self.max_chars)
        self.encode(text)
        return text.split()

    def words_at(self, payload: bytes | str) -> list[Word]:
        """`words`, each with its place in the payload's text. Raises the errors of `__call__`."""
        self.words(payload)
        text, begin = without_mark(payload)
        matches = re.finditer(r"\S+", text)
        return [Word(match[0], match[0], begin + match.start(), begin + match.end()) for match in matches]

    def covered(self, payload: bytes | str) -> list[list[int]]:
        """For each token id of `__call__`: the indices of the words that it is a part of; none for a special token."""
        text = decode_text(payload, self.max_chars)
        spans = [match.span() for match in re.finditer(r"\S+", text)]
        offsets = self.tokenizer.encode(text).offsets
        return [
            [index for index, (start, end) in enumerate(spans) if first < end and last > start and last > first]
            for first, last in offsets
        ]

    def encode_words(self, words: list[str]) -> Tensor:
        """Some of the words, or none -> (n,) int64 token ids, n at least 1. Explanations leave out words this way."""
        return torch.tensor(self.tokenizer.encode(" ".join(words)).ids or [self.pad])

    def collate(self, samples: list[Tensor]) -> tuple[Tensor, Tensor]:
        """-> token ids (B, longest), padded, and the attention mask (B, longest): 1 for a token, 0 for padding."""
        lengths = torch.tensor([len(sample) for sample in samples])
        token_ids = padded(samples, self.pad)
        return token_ids, (torch.arange(token_ids.shape[1]) < lengths[:, None]).long()

    @property
    def pad(self) -> int:
        """The id of the padding token, which the attention mask hides; 0 if the tokenizer has none."""
        found = (self.tokenizer.token_to_id(name) for name in self.pad_tokens)
        return next((token_id for token_id in found if token_id is not None), 0)

    def facts(self) -> dict:
        return {"vocab_size": self.tokenizer.get_vocab_size(), "pad": self.pad}

    def save(self, folder: Path) -> None:
        (folder / self.FILE).write_text(self.written, encoding="utf-8")

    def load(self, folder: Path) -> None:
        self.written = (folder / self.FILE).read_text(encoding="utf-8")


def without_own(config: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name not in NOT_FOR_THE_NETWORK}


def settings_of(config: dict[str, Any], num_classes: int) -> Any:
    """transformers' own object of a Hugging Face `config.json`."""
    import transformers

    return transformers.AutoConfig.for_model(**without_own(config), num_labels=num_classes)


def processor_of(folder: Path, auto_class: str, what: str, **options: Any) -> Any:
    """The processor that a folder describes. No code of the folder or of the Hub is used.

    Args:
        auto_class: the name of the class in `transformers`: "AutoImageProcessor".
        what: it is, for the error.

    Raises:
        SpecError: the package is not installed, or has no such processor.
    """
    extra("transformers")
    import transformers  # a plain import, which the archive's bill of materials sees

    try:
        return getattr(transformers, auto_class).from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, **options
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError, ImportError) as error:
        raise SpecError(f"{folder}: no {what} of transformers can be made of its files: {first_line(error)}") from error


def network_of(config: dict[str, Any], num_classes: int, auto_class: str) -> nn.Module:
    """A network of `transformers` with random weights. No code of a folder or of the Hub is used.

    Args:
        config: the contents of a Hugging Face `config.json`; it needs `model_type`.
        auto_class: the name of the class in `transformers` that knows the task: "AutoModelForImageClassification".

    Raises:
        SpecError: the package is not installed, or has no such network.
    """
    extra("transformers")
    import transformers  # a plain import, which the archive's bill of materials sees

    try:
        return getattr(transformers, auto_class).from_config(settings_of(config, num_classes))
    except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RuntimeError, IndexError) as error:
        reason = first_line(error)
        raise SpecError(f"no transformer can be made of config {without_own(config)}: {reason}") from error


class TokenNetwork(nn.Module):
    """The base of networks for texts: (B, tokens) int64 token ids and (B, tokens) int64 attention mask -> the first output.

    Args:
        network: of `transformers`.
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, token_ids: Tensor, mask: Tensor) -> Tensor:
        return self.network(input_ids=token_ids, attention_mask=mask, return_dict=False)[0]

    def embed(self, token_ids: Tensor, mask: Tensor) -> Tensor:
        """(B, tokens) -> (B, tokens, dim). Explanations begin after it."""
        return self.network.get_input_embeddings()(token_ids)

    def from_embedded(self, embedded: Tensor, mask: Tensor) -> Tensor:
        """The rest of `forward`."""
        return self.network(inputs_embeds=embedded, attention_mask=mask, return_dict=False)[0]


class TransformersClassifier(TokenNetwork):
    """Any network of `transformers` for sequence classification, with random weights.

    (B, tokens) int64 token ids and (B, tokens) int64 attention mask -> (B, num_classes) logits.

    Args:
        pad: the id of the padding token.
        config: the contents of a Hugging Face `config.json`; it needs `model_type`. A small BERT if left out.

    Raises:
        SpecError: the package is not installed, or has no such network.
    """

    def __init__(self, num_classes: int, vocab_size: int | None = None, pad: int = 0, config: dict[str, Any] | None = None):
        given = {"vocab_size": vocab_size or 1, "pad_token_id": pad} | (config or SMALL)
        super().__init__(network_of(given, num_classes, "AutoModelForSequenceClassification"))
