"""Text: the transform from UTF-8 to the ids of word n-grams, and a bag-of-words classifier.

The tokenizer gives the same tokens as torchtext's `basic_english`, which a test checks. torchtext itself does not import next to
today's torch.
"""

import re
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from model_defs.errors import TooLarge, Unreadable, WrongValue
from model_defs.transform import Transform

UNKNOWN, UNKNOWN_ID = "<unk>", 0  # the first token of every vocabulary
# As in torchtext 0.18, data/utils.py, `basic_english`: punctuation becomes a token of its own, or a space, or nothing.
SPACED = re.compile(r"(['.,()!?])")
TOKEN = re.compile(r"<br />|(['.,()!?]|(?:(?!<br />)[^\s;:'.,()!?])+)")  # group 1 is a token, if that is done to the text
SPACES = str.maketrans(";:", "  ")
# What phones and word processors write for the marks of a keyboard, and full-width letters: one character for one, so that the
# places of words stay.
APOSTROPHES, QUOTES = "‘’‛ʼ´", "“”„‟«»"
FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
TYPED = str.maketrans(dict.fromkeys(APOSTROPHES, "'") | dict.fromkeys(QUOTES, '"') | {"…": ".", "‐": "-", "‑": "-"}) | FULL_WIDTH
BYTE_ORDER_MARK = "\ufeff"  # some editors write it at the start of a file


def tokenize(text: str) -> list[str]:
    """Lower-case words and punctuation marks, the same as from torchtext's `get_tokenizer("basic_english")`."""
    text = text.lower().replace('"', "").replace("<br />", " ").translate(SPACES)
    return SPACED.sub(r" \1 ", text).split()


def typed(text: str) -> str:
    """The text with a keyboard's marks and letters: don’t -> don't. `basic_english` takes the two for different words."""
    return text if text.isascii() else text.translate(TYPED)


class Word(NamedTuple):
    """A word or a punctuation mark of a text.

    Args:
        token: as the model reads it.
        text: as it was sent.
        start, end: the place of its characters in the text as it was sent.
    """

    token: str
    text: str
    start: int
    end: int


def without_mark(payload: bytes | str) -> tuple[str, int]:
    """The text without a byte order mark, and how many characters stand before it."""
    text = payload if isinstance(payload, str) else bytes(payload).decode()
    begin = int(text.startswith(BYTE_ORDER_MARK))
    return text[begin:], begin


def words_of(text: str) -> list[Word]:
    """The tokens of `tokenize`, each with its place in the text."""
    lowered = [(letter, place) for place, given in enumerate(text) for letter in given.lower() if letter != '"']
    places = [place for _, place in lowered]
    letters = "".join(letter for letter, _ in lowered)
    if (whole := text.lower().replace('"', "")) and len(whole) == len(letters):
        letters = whole  # a final sigma is written otherwise than one inside a word
    found = [match.span(1) for match in TOKEN.finditer(letters) if match[1]]
    spans = [(letters[start:end], places[start], places[end - 1] + 1) for start, end in found]
    return [Word(token, text[start:end], start, end) for token, start, end in spans]


def ngrams(tokens: list[str], most: int) -> list[str]:
    """The tokens, then every run of 2 to `most` tokens, joined by a space."""
    runs = (zip(*(tokens[start:] for start in range(size)), strict=False) for size in range(2, most + 1))
    return tokens + [" ".join(run) for run_of_size in runs for run in run_of_size]


def decode_text(payload: bytes | str, max_chars: int) -> str:
    """UTF-8 bytes or text -> text, without a byte order mark. For the errors see `NgramTransform.__call__`."""
    try:
        text = payload if isinstance(payload, str) else bytes(payload).decode()
        text.encode()  # fails for a lone surrogate, which JSON may contain but text may not
    except UnicodeDecodeError as error:
        raise Unreadable(f"not UTF-8 text: byte {error.start:,} is 0x{payload[error.start]:02x}; send UTF-8") from None
    except UnicodeEncodeError as error:
        raise WrongValue(f"not text: character {error.start:,} is half of a surrogate pair; send whole characters") from None
    if len(text) > max_chars:
        raise TooLarge(f"{len(text):,} characters; this model takes {max_chars:,} at most: send a shorter text")
    return text.removeprefix(BYTE_ORDER_MARK)


class NgramTransform(Transform):
    """UTF-8 text -> (n,) int64: the ids of its word n-grams in the vocabulary.

    n-grams that are not in the vocabulary are left out. A text with no known n-gram becomes the single `<unk>`, id 0.

    Args:
        ngrams: 1 for words, 2 for words and pairs of words ...
        max_tokens: training keeps this many of the most frequent n-grams.
        min_freq: training keeps n-grams that it sees at least this often.
        max_chars: a longer text is refused.
    """

    FILE = "vocabulary.txt"  # one n-gram per line, in the order of their ids

    def __init__(self, ngrams: int = 2, max_tokens: int = 50_000, min_freq: int = 1, max_chars: int = 100_000):
        self.ngrams, self.max_tokens, self.min_freq, self.max_chars = ngrams, max_tokens, min_freq, max_chars
        self.tokens = [UNKNOWN]

    @property
    def tokens(self) -> list[str]:
        """The vocabulary's tokens in the order of their ids. The first is `<unk>`."""
        return list(self.vocabulary)

    @tokens.setter
    def tokens(self, tokens: list[str]) -> None:
        self.vocabulary = {token: index for index, token in enumerate(tokens)}  # token -> id

    def __call__(self, payload: bytes | str) -> Tensor:
        """
        Raises:
            Unreadable: not UTF-8.
            TooLarge: more than `max_chars` characters.
            WrongValue: no word, or half of a surrogate pair.
        """
        return self.encode_words(self.words(payload))

    def words(self, payload: bytes | str) -> list[str]:
        """The text's words and punctuation marks. Raises the errors of `__call__`."""
        words = tokenize(typed(decode_text(payload, self.max_chars)))
        if not words:
            raise WrongValue("the text is empty; send at least one word")
        return words

    def words_at(self, payload: bytes | str) -> list[Word]:
        """`words`, each with its place in the payload's text. Raises the errors of `__call__`."""
        self.words(payload)
        text, begin = without_mark(payload)
        return [
            Word(word.token, text[word.start : word.end], begin + word.start, begin + word.end) for word in words_of(typed(text))
        ]

    def covered(self, payload: bytes | str) -> list[list[int]]:
        """For each token id of `__call__`: the indices of the words that it stands for."""
        words = self.words(payload)
        starts = [(start, size) for size in range(1, self.ngrams + 1) for start in range(len(words) - size + 1)]
        known = [(start, size) for start, size in starts if " ".join(words[start : start + size]) in self.vocabulary]
        return [[*range(start, start + size)] for start, size in known] or [[]]

    def encode_words(self, words: list[str]) -> Tensor:
        """Some of the words, or none -> (n,) int64 token ids, n at least 1. Explanations leave out words this way."""
        known = [self.vocabulary[ngram] for ngram in ngrams(words, self.ngrams) if ngram in self.vocabulary]
        return torch.tensor(known or [UNKNOWN_ID])

    def collate(self, samples: list[Tensor]) -> tuple[Tensor, Tensor]:
        """-> the token ids of all texts (n,), and the offset of each text (B,), as `nn.EmbeddingBag` takes them."""
        lengths = torch.tensor([0] + [len(sample) for sample in samples[:-1]])
        return torch.cat(samples), lengths.cumsum(0)

    def facts(self) -> dict:
        return {"vocab_size": len(self.vocabulary)}

    def save(self, folder: Path) -> None:
        (folder / self.FILE).write_bytes("\n".join(self.vocabulary).encode())

    def load(self, folder: Path) -> None:
        self.tokens = (folder / self.FILE).read_bytes().decode().split("\n")


class BagOfWords(nn.Module):
    """The mean of the n-grams' embeddings, then a linear layer.

    Source: "Bag of Tricks for Efficient Text Classification" (arXiv 1607.01759).

    (n,) int64 token ids and (B,) int64 offsets -> (B, num_classes) logits.
    """

    def __init__(self, num_classes: int, vocab_size: int | None = None, dim: int = 64, dropout: float = 0.3):
        super().__init__()
        self.embedding = nn.EmbeddingBag(vocab_size or 1, dim, mode="mean")
        # As fastText starts. With torch's normal(0, 1), the many n-grams that training sees once would stay noise.
        nn.init.uniform_(self.embedding.weight, -1 / dim, 1 / dim)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(dim, num_classes))

    def forward(self, token_ids: Tensor, offsets: Tensor) -> Tensor:
        return self.head(self.embedding(token_ids, offsets))

    def embed(self, token_ids: Tensor, offsets: Tensor) -> Tensor:
        """One text's token ids -> (1, n, dim), for explanations."""
        return nn.functional.embedding(token_ids, self.embedding.weight)[None]

    def from_embedded(self, embedded: Tensor, offsets: Tensor) -> Tensor:
        """The rest of `forward`."""
        return self.head(embedded.mean(1))
