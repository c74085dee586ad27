"""A vocabulary of word n-grams, chosen from training texts."""

from collections import Counter
from collections.abc import Iterable

from model_defs.text import ngrams, tokenize

UNKNOWN = "<unk>"  # index 0


def build_vocabulary(texts: Iterable[str], size: int, most: int | None = None, min_freq: int = 1) -> list[str]:
    """The n-grams of all texts: `<unk>`, then the most frequent first. Equal counts are sorted by the text.

    This is the order of torchtext's `build_vocab_from_iterator`; a test compares the two.

    Args:
        size: of the longest n-gram, in words.
        most: entries at most, `<unk>` included.
        min_freq: an n-gram that is seen less often is left out.
    """
    counts = Counter(ngram for text in texts for ngram in ngrams(tokenize(text), size))
    counts.pop(UNKNOWN, None)
    ranked = sorted((ngram for ngram in counts if counts[ngram] >= min_freq), key=lambda ngram: (-counts[ngram], ngram))
    return [UNKNOWN, *ranked][:most]
