"""Texts as sequences of words, and a bidirectional LSTM classifier.

Training may start from word vectors of a file (`train/data/text.py`). They are part of the network's weights then.
"""

import torch
from torch import Tensor, nn

from model_defs.padding import PaddedTransform, padded
from model_defs.text import UNKNOWN_ID, NgramTransform


class WordSequenceTransform(PaddedTransform, NgramTransform):
    """UTF-8 text -> (n,) int64: the id of each word and punctuation mark. An unknown word is `<unk>`, id 0.

    Args:
        max_tokens: training keeps this many of the most frequent words.
        min_freq: training keeps words that it sees at least this often.
        max_words: the words after so many are not read.
        max_chars: a longer text is refused.
    """

    def __init__(self, max_tokens: int = 50_000, min_freq: int = 1, max_words: int = 256, max_chars: int = 100_000):
        super().__init__(1, max_tokens, min_freq, max_chars)
        self.max_words = max_words

    def encode_words(self, words: list[str]) -> Tensor:
        return torch.tensor([self.vocabulary.get(word, UNKNOWN_ID) for word in words[: self.max_words]] or [UNKNOWN_ID])

    def covered(self, payload: bytes | str) -> list[list[int]]:
        return [[index] for index in range(len(self.words(payload)))][: self.max_words]

    def collate(self, samples: list[Tensor]) -> tuple[Tensor, Tensor]:
        """-> token ids (B, longest), padded, and each text's length (B,)."""
        return padded(samples), torch.tensor([len(sample) for sample in samples])


class WordLSTM(nn.Module):
    """A forward and a backward LSTM, then the mean and the maximum of their states over the words.

    (B, words) int64 token ids and (B,) int64 lengths -> (B, num_classes) logits. Ids after a text's length have no effect.

    Args:
        dim: of a word's vector. For vectors from a file, it must be the file's.
        hidden: size of each direction's state.
    """

    def __init__(self, num_classes: int, vocab_size: int | None = None, dim: int = 100, hidden: int = 128, dropout: float = 0.3):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size or 1, dim)
        nn.init.normal_(self.embedding.weight, std=0.1)
        self.dropout = nn.Dropout(dropout)
        self.forward_lstm, self.backward_lstm = (nn.LSTM(dim, hidden, batch_first=True) for _ in range(2))
        self.head = nn.Linear(4 * hidden, num_classes)

    def forward(self, token_ids: Tensor, lengths: Tensor) -> Tensor:
        return self.from_embedded(self.embed(token_ids, lengths), lengths)

    def embed(self, token_ids: Tensor, lengths: Tensor) -> Tensor:
        """(B, words) -> (B, words, dim). Explanations begin after it."""
        return self.embedding(token_ids)

    def from_embedded(self, embedded: Tensor, lengths: Tensor) -> Tensor:
        """The rest of `forward`."""
        vectors = self.dropout(embedded)
        lengths, index = lengths[:, None], torch.arange(vectors.shape[1], device=vectors.device)
        is_word = index < lengths  # (B, words)
        # Reverse each text within its own length. torch's packed sequences need the lengths on the CPU, which no export allows.
        reversed_index = torch.where(is_word, lengths - 1 - index, index)
        from_the_end = vectors.gather(1, reversed_index[..., None].expand_as(vectors))
        states = torch.cat(
            [self.forward_lstm(vectors)[0], self.backward_lstm(from_the_end)[0]], dim=2
        )  # (B, words, 2 hidden), within -1..1
        is_word = is_word[..., None]
        mean = (states * is_word).sum(dim=1) / lengths  # (B, 2 hidden)
        maximum = states.masked_fill(~is_word, -1.0).amax(dim=1)  # (B, 2 hidden)
        return self.head(self.dropout(torch.cat([mean, maximum], dim=1)))
