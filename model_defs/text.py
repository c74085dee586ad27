"""Text: the transform from UTF-8 to numbered word n-grams, and the networks that read them.

The tokenizer is torchtext's `basic_english`, written anew because torchtext does not import beside today's torch; a test
holds the two equal. Knows nothing of labels, of how the vocabulary was chosen, or of HTTP.
"""

import re
from pathlib import Path

import torch
from torch import Tensor, nn

from model_defs.errors import TooLarge, Unreadable, WrongValue
from model_defs.transform import Transform

# torchtext 0.18, data/utils.py, `basic_english`: punctuation becomes a word of its own, or a space, or nothing.
SPACED = re.compile(r"(['.,()!?])")
SPACES = str.maketrans(";:", "  ")


def tokenize(text: str) -> list[str]:
    """Lower-case words and punctuation marks, as torchtext's `get_tokenizer("basic_english")` gives them."""
    text = text.lower().replace('"', "").replace("<br />", " ").translate(SPACES)
    return SPACED.sub(r" \1 ", text).split()


def ngrams(tokens: list[str], most: int) -> list[str]:
    """The tokens, then every run of 2 .. `most` of them joined by a space."""
    runs = (zip(*(tokens[start:] for start in range(size)), strict=False) for size in range(2, most + 1))
    return tokens + [" ".join(run) for run_of_size in runs for run in run_of_size]


def read(payload: bytes | str, max_chars: int) -> str:
    """The payload as checked text; for the errors see `NgramTransform.__call__`."""
    try:
        text = payload if isinstance(payload, str) else bytes(payload).decode()
        text.encode()  # finds the lone surrogates that JSON can hold and no text can
    except UnicodeDecodeError as error:
        raise Unreadable(f"not UTF-8 text: byte {error.start:,} is 0x{payload[error.start]:02x}; send UTF-8") from None
    except UnicodeEncodeError as error:
        raise WrongValue(f"not text: character {error.start:,} is half of a surrogate pair; send whole characters") from None
    if len(text) > max_chars:
        raise TooLarge(f"{len(text):,} characters; this model takes {max_chars:,} at most: send a shorter text")
    return text.removeprefix("\ufeff")  # the byte order mark that some editors write


class NgramTransform(Transform):
    """UTF-8 text -> (n,) int64: the numbers of its word n-grams in the vocabulary.

    n-grams that the vocabulary lacks are left out; a text of nothing else becomes the single `<unk>`, number 0.

    Args:
        ngrams: 1 for words, 2 for words and pairs ...
        max_tokens: training keeps this many of the most frequent n-grams.
        min_freq: training keeps those seen at least this often.
        max_chars: a longer text is refused.
    """

    FILE = "vocabulary.txt"  # one n-gram a line, in the order of their numbers

    def __init__(self, ngrams: int = 2, max_tokens: int = 50_000, min_freq: int = 1, max_chars: int = 100_000):
        self.ngrams, self.max_tokens, self.min_freq, self.max_chars = ngrams, max_tokens, min_freq, max_chars
        self.tokens = ["<unk>"]

    @property
    def tokens(self) -> list[str]:
        """The vocabulary; number 0 is `<unk>`."""
        return list(self.numbers)

    @tokens.setter
    def tokens(self, tokens: list[str]) -> None:
        self.numbers = {token: number for number, token in enumerate(tokens)}

    def __call__(self, payload: bytes | str) -> Tensor:
        """
        Raises:
            Unreadable: not UTF-8.
            TooLarge: more than `max_chars` characters.
            WrongValue: no word in it, or half of a surrogate pair.
        """
        return self.number(self.words(payload))

    def words(self, payload: bytes | str) -> list[str]:
        """The text's words and punctuation marks; the errors of `__call__`."""
        words = tokenize(read(payload, self.max_chars))
        if not words:
            raise WrongValue("the text is empty; send at least one word")
        return words

    def number(self, words: list[str]) -> Tensor:
        """(n,) int64: the numbers of the words' n-grams."""
        known = [self.numbers[ngram] for ngram in ngrams(words, self.ngrams) if ngram in self.numbers]
        return torch.tensor(known or [0])

    def collate(self, samples: list[Tensor]) -> tuple[Tensor, Tensor]:
        """-> all numbers in a row (n,), and where each text begins (B,)."""
        lengths = torch.tensor([0] + [len(sample) for sample in samples[:-1]])
        return torch.cat(samples), lengths.cumsum(0)

    def facts(self) -> dict:
        return {"vocab_size": len(self.numbers)}

    def save(self, folder: Path) -> None:
        (folder / self.FILE).write_bytes("\n".join(self.numbers).encode())

    def load(self, folder: Path) -> None:
        self.tokens = (folder / self.FILE).read_bytes().decode().split("\n")


class BagOfWords(nn.Module):
    """The mean of the n-grams' embeddings, and a linear layer, as in "Bag of Tricks for Efficient Text Classification",
    arXiv 1607.01759.

    (n,) int64 numbers and (B,) int64 offsets -> (B, num_classes) logits.
    """

    def __init__(self, num_classes: int, vocab_size: int | None = None, dim: int = 64, dropout: float = 0.3):
        super().__init__()
        self.embedding = nn.EmbeddingBag(vocab_size or 1, dim, mode="mean")
        # As fastText begins; with torch's own normal(0, 1) the many n-grams that are seen once would stay noise.
        nn.init.uniform_(self.embedding.weight, -1 / dim, 1 / dim)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(dim, num_classes))

    def forward(self, numbers: Tensor, offsets: Tensor) -> Tensor:
        return self.head(self.embedding(numbers, offsets))
