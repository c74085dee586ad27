"""Texts as words in their order, and the LSTM that reads them both ways.

The words' vectors may come from elsewhere: training reads them (`train/data/text.py`), and they travel as the network's own
weights, beside the vocabulary. Knows nothing of labels or of HTTP.
"""

import torch
from torch import Tensor, nn

from model_defs.padding import PaddedTransform, padded
from model_defs.text import NgramTransform


class WordSequenceTransform(PaddedTransform, NgramTransform):
    """UTF-8 text -> (n,) int64: the number of each word and mark; `<unk>`, number 0, stands for one that is not known.

    Args:
        max_tokens: training keeps this many of the most frequent words.
        min_freq: training keeps those seen at least this often.
        max_words: what stands behind so many is not read.
        max_chars: a longer text is refused.
    """

    def __init__(self, max_tokens: int = 50_000, min_freq: int = 1, max_words: int = 256, max_chars: int = 100_000):
        super().__init__(1, max_tokens, min_freq, max_chars)
        self.max_words = max_words

    def number(self, words: list[str]) -> Tensor:
        """(n,) int64: the words' numbers."""
        return torch.tensor([self.numbers.get(word, 0) for word in words[: self.max_words]] or [0])

    def collate(self, samples: list[Tensor]) -> tuple[Tensor, Tensor]:
        """-> numbers (B, longest), and how many of them are words (B,)."""
        return padded(samples), torch.tensor([len(sample) for sample in samples])


class WordLSTM(nn.Module):
    """An LSTM from the first word on, one from the last, and the mean and maximum of what both say at each word.

    (B, words) int64 numbers and (B,) int64 lengths -> (B, num_classes) logits. What lies behind a text's length does not matter.

    Args:
        dim: of a word's vector; that of the file, where vectors are read from one.
        hidden: of each direction's state.
    """

    def __init__(self, num_classes: int, vocab_size: int | None = None, dim: int = 100, hidden: int = 128, dropout: float = 0.3):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size or 1, dim)
        nn.init.normal_(self.embedding.weight, std=0.1)
        self.dropout = nn.Dropout(dropout)
        self.ahead, self.back = (nn.LSTM(dim, hidden, batch_first=True) for _ in range(2))
        self.head = nn.Linear(4 * hidden, num_classes)

    def forward(self, numbers: Tensor, lengths: Tensor) -> Tensor:
        vectors = self.dropout(self.embedding(numbers))  # (B, words, dim)
        lengths, places = lengths[:, None], torch.arange(numbers.shape[1], device=numbers.device)
        is_word = places < lengths  # (B, words)
        # Each text turned within its own length: torch's own two ways need the lengths on the CPU, which exports cannot hold.
        turned = torch.where(is_word, lengths - 1 - places, places)
        from_the_end = vectors.gather(1, turned[..., None].expand_as(vectors))
        states = torch.cat([self.ahead(vectors)[0], self.back(from_the_end)[0]], dim=2)  # (B, words, 2 hidden), within -1..1
        is_word = is_word[..., None]
        mean = (states * is_word).sum(dim=1) / lengths
        most = states.masked_fill(~is_word, -1.0).amax(dim=1)
        return self.head(self.dropout(torch.cat([mean, most], dim=1)))
