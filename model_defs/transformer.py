"""Texts as word pieces, and Hugging Face's transformers that read them: the extra `transformers`.

The tokenizer is the `tokenizers` wheel's, from its own JSON file; the networks are the `transformers` package's, which is not
imported before one is built. Knows nothing of labels, of how either was trained, or of HTTP.
"""

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from model_defs.build import SpecError
from model_defs.errors import WrongValue
from model_defs.padding import PaddedTransform, padded
from model_defs.text import read

SMALL = {  # a BERT of 0.4 million weights, the pieces' vectors not counted
    "model_type": "bert",
    "hidden_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 512,
    "max_position_embeddings": 512,
}
ABOUT_TRAINING = ("architectures", "id2label", "label2id", "num_labels", "problem_type", "_name_or_path", "torch_dtype", "dtype")


def extra(package: str) -> ModuleType:
    """The package, imported.

    Raises:
        SpecError: it is not installed.
    """
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise SpecError(f"this model needs {error.name}, which is not installed: make setup EXTRAS=transformers") from error


class SubwordTransform(PaddedTransform):
    """UTF-8 text -> (n,) int64: the numbers of its word pieces.

    Args:
        max_tokens: what stands behind so many pieces is not read; the network's positions must reach so far.
        vocab_size: how many pieces training looks for, where no tokenizer is given.
        max_chars: a longer text is refused.
    """

    FILE = "tokenizer.json"  # as the tokenizers package writes it

    def __init__(self, max_tokens: int = 128, vocab_size: int = 8_000, max_chars: int = 100_000):
        self.max_tokens, self.vocab_size, self.max_chars = max_tokens, vocab_size, max_chars
        self.tokenizer = None

    @property
    def written(self) -> str:
        """The tokenizer as JSON; may be set."""
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
            WrongValue: nothing in it, or half of a surrogate pair.
        """
        return self.encode(read(payload, self.max_chars))

    def encode(self, text: str) -> Tensor:
        """(n,) int64: the numbers of the pieces, the special ones that the tokenizer puts around them included."""
        numbers = self.tokenizer.encode(text).ids if text.strip() else []
        if not numbers:
            raise WrongValue("the text is empty; send at least one word")
        return torch.tensor(numbers)

    def words(self, payload: bytes | str) -> list[str]:
        """The text's words, as an explanation weighs them; the errors of `__call__`."""
        text = read(payload, self.max_chars)
        self.encode(text)
        return text.split()

    def number(self, words: list[str]) -> Tensor:
        """As `encode`, of some of the words, or of none."""
        return torch.tensor(self.tokenizer.encode(" ".join(words)).ids or [self.pad])

    def collate(self, samples: list[Tensor]) -> tuple[Tensor, Tensor]:
        """-> numbers (B, longest), and 1 where one is a piece, 0 where it only fills up (B, longest)."""
        lengths = torch.tensor([len(sample) for sample in samples])
        numbers = padded(samples, self.pad)
        return numbers, (torch.arange(numbers.shape[1]) < lengths[:, None]).long()

    @property
    def pad(self) -> int:
        """The number that fills up; the network is told not to look at it."""
        return next((number for name in ("[PAD]", "<pad>") if (number := self.tokenizer.token_to_id(name)) is not None), 0)

    def facts(self) -> dict:
        return {"vocab_size": self.tokenizer.get_vocab_size(), "pad": self.pad}

    def save(self, folder: Path) -> None:
        (folder / self.FILE).write_text(self.written, encoding="utf-8")

    def load(self, folder: Path) -> None:
        self.written = (folder / self.FILE).read_text(encoding="utf-8")


class TransformersClassifier(nn.Module):
    """A classifier of sequences by any of `transformers`' networks that has one, its weights at random.

    (B, pieces) int64 numbers and (B, pieces) int64 mask -> (B, num_classes) logits.

    Args:
        pad: the number that fills up.
        config: what a `config.json` of Hugging Face says, `model_type` above all; a small BERT if left out.

    Raises:
        SpecError: the package is not installed, or knows no such network.
    """

    def __init__(self, num_classes: int, vocab_size: int | None = None, pad: int = 0, config: dict[str, Any] | None = None):
        super().__init__()
        extra("transformers")
        import transformers  # a plain import, which the archive's bill of materials sees

        given = {"vocab_size": vocab_size or 1, "pad_token_id": pad} | (config or SMALL)
        given = {name: value for name, value in given.items() if name not in ABOUT_TRAINING}
        try:
            settings = transformers.AutoConfig.for_model(**given, num_labels=num_classes)
            self.network = transformers.AutoModelForSequenceClassification.from_config(settings)
        except (ValueError, TypeError, KeyError) as error:
            reason = str(error).strip().splitlines()[0][:300]
            raise SpecError(f"no transformer can be made of config {given}: {reason}") from error

    def forward(self, numbers: Tensor, mask: Tensor) -> Tensor:
        return self.network(input_ids=numbers, attention_mask=mask, return_dict=False)[0]
