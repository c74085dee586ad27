"""torchtext in place of the bundle's own code for texts: its data sets, its vocabulary, its reader of word vectors.

Only an environment that has torchtext imports this module: `make setup EXTRAS=torchtext` makes one. The functions take and
give what the bundle's own ones do, and tests/torchtext/ compares the two.
"""

import tempfile
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

import torchtext

torchtext.disable_torchtext_deprecation_warning()

from torchtext import datasets  # noqa: E402
from torchtext.data.utils import get_tokenizer, ngrams_iterator  # noqa: E402
from torchtext.vocab import Vectors, build_vocab_from_iterator  # noqa: E402

from train.data.example import DataError  # noqa: E402
from train.data.vectors import WordVectors, not_vectors  # noqa: E402
from train.data.vocabulary import UNKNOWN  # noqa: E402

VERSION = version("torchtext")


def build_vocabulary(texts: Iterable[str], size: int, most: int | None = None, min_freq: int = 1) -> list[str]:
    """As `train.data.vocabulary.build_vocabulary`, by torchtext's `build_vocab_from_iterator`."""
    tokenize = get_tokenizer("basic_english")
    ngrams = (ngrams_iterator(tokenize(text), size) for text in texts)
    vocabulary = build_vocab_from_iterator(ngrams, min_freq=min_freq, specials=[UNKNOWN], max_tokens=most)
    return vocabulary.get_itos()


def read_vectors(file: Path) -> WordVectors:
    """As `train.data.vectors.read_vectors`, by torchtext's `Vectors`."""
    if not file.is_file():
        raise DataError(f"{file}: no such file of word vectors")
    # torchtext pickles what it read and unpickles that the next time, so its cache must not outlive this call.
    with tempfile.TemporaryDirectory() as cache:
        try:
            vectors = Vectors(str(file), cache=cache)
        except (RuntimeError, ValueError, TypeError) as error:
            raise not_vectors(file, error) from error
    # torchtext adds a row of zeros per line that it skips.
    return WordVectors(vectors.stoi, vectors.vectors[: len(vectors.itos)])


def read_pairs(name: str, labels: tuple[str, ...], root: Path, part: str) -> list[tuple[str, str]]:
    """The labels and texts of a set of `torchtext.datasets`, downloaded if it is not in `root`.

    Args:
        name: of the set: "AG_NEWS".
        labels: torchtext numbers them from 1.
        part: "train" or "test".

    Raises:
        OSError: the set is not there and cannot be downloaded.
    """
    try:
        pairs = getattr(datasets, name)(root=str(root), split=part)
        return [(labels[int(class_id) - 1], text) for class_id, text in pairs]
    except Exception as error:  # torchdata wraps what failed in exceptions of many kinds
        raise OSError(str(root_cause(error))) from error


def root_cause(error: BaseException) -> BaseException:
    """The first of a chain of errors: torchdata hides what went wrong behind its own."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__
    return error
