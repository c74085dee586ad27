"""Texts: the requests that come with the project, torchtext's sets by name, and any CSV. The only file that imports torchtext.

Knows nothing of how a text becomes numbers, but for the words or pieces that it chooses, and the vectors that it reads:
`model_defs/text.py` and its neighbours decode.
"""

import tempfile
from collections.abc import Callable, Iterator
from functools import singledispatch
from pathlib import Path

import torch
import torchtext
from torch import nn

torchtext.disable_torchtext_deprecation_warning()

from torchtext import datasets  # noqa: E402
from torchtext.data.utils import get_tokenizer, ngrams_iterator  # noqa: E402
from torchtext.vocab import Vectors, build_vocab_from_iterator  # noqa: E402

from model_defs.text import Words  # noqa: E402
from model_defs.transform import Transform  # noqa: E402
from model_defs.transformer import Pieces  # noqa: E402
from train.data.examples import DOWNLOADS, DataError, Example, Examples, split  # noqa: E402
from train.data.pieces import train_tokenizer  # noqa: E402
from train.data.spreadsheet import records  # noqa: E402


class CSV(Examples):
    """`root/train.csv` and `root/test.csv` (and `validation.csv`, if there), or one CSV file, of which a fifth is for testing.

    Args:
        label: the column of labels.
        text: the column of texts.
        vectors: a text file of word vectors, GloVe's or fastText's, that the network begins with.
        unseen: so many words that the file has and the training split has not are learned too: the file's first, which are the
            most frequent ones.
    """

    def __init__(
        self,
        root: str = DOWNLOADS,
        label: str = "label",
        text: str = "text",
        vectors: str | None = None,
        unseen: int = 20_000,
        **options,
    ):
        super().__init__(root, **options)
        self.columns = label, text
        self.unseen = unseen
        self.vectors = read_vectors(Path(vectors)) if vectors else None

    def read(self) -> dict[str, list[Example]]:
        if self.root.is_file():
            train, test = split(list(rows(self.root, *self.columns)), 0.2, self.seed)
            return {"train": train, "test": test}
        files = {name: self.root / f"{name}.csv" for name in ("train", "test", "validation")}
        for name in ("train", "test"):
            if not files[name].is_file():
                raise DataError(f"{files[name]}: no such file; DATA=<folder> takes one with train.csv and test.csv")
        return {name: list(rows(file, *self.columns)) for name, file in files.items() if file.is_file()}

    def fit(self, transform: Transform) -> None:
        """Let the transform learn its words or pieces from the training split alone, but for those that `vectors` brings."""
        if self.vectors and not isinstance(transform, Words):
            raise DataError(f"vectors: word vectors are for transforms of words; {type(transform).__name__} is none")
        learn(transform, (example.read().decode() for example in self.splits["train"]))
        if self.vectors:
            known = {*transform.tokens}
            transform.tokens += [word for word in self.vectors.itos if word not in known][: self.unseen]

    def equip(self, network: nn.Module, transform: Transform) -> None:
        """Put the vectors in the place of the words' first ones."""
        if not self.vectors:
            return
        table = getattr(network, "embedding", None)
        if table is None or table.weight.shape[1] != self.vectors.dim:
            has = "no word vectors" if table is None else f"vectors of {table.weight.shape[1]}"
            raise DataError(
                f"vectors of {self.vectors.dim} numbers are for a network with dim: {self.vectors.dim}; this has {has}"
            )
        found = {number: self.vectors.stoi[word] for word, number in transform.numbers.items() if word in self.vectors.stoi}
        with torch.no_grad():
            table.weight[[*found]] = self.vectors.vectors[[*found.values()]]
        print(f"word vectors for {len(found):,} of {len(transform.numbers):,} words; the others are learned", flush=True)


@singledispatch
def learn(transform: Transform, texts: Iterator[str]) -> None:
    """Let the transform learn from texts what it needs."""
    raise DataError(f"{type(transform).__name__} is no transform of texts")


@learn.register
def _(transform: Words, texts: Iterator[str]) -> None:
    """Its vocabulary, by torchtext."""
    tokenize = get_tokenizer("basic_english")
    vocabulary = build_vocab_from_iterator(
        (ngrams_iterator(tokenize(text), transform.ngrams) for text in texts),
        min_freq=transform.min_freq,
        specials=["<unk>"],
        max_tokens=transform.max_tokens,
    )
    transform.tokens = vocabulary.get_itos()


@learn.register
def _(transform: Pieces, texts: Iterator[str]) -> None:
    """Its tokenizer, unless it has one already."""
    if transform.tokenizer is None:
        transform.written = train_tokenizer(texts, transform.vocab_size)


def read_vectors(file: Path) -> Vectors:
    """The words and vectors of a text file: a word and its numbers a line; fastText's first line, two counts, is passed over.

    Raises:
        DataError: no such file, or another format.
    """
    if not file.is_file():
        raise DataError(f"{file}: no such file of word vectors")
    # torchtext leaves a pickle of what it read, and would read that the next time: a folder that is gone by then.
    with tempfile.TemporaryDirectory() as cache:
        try:
            return Vectors(str(file), cache=cache)
        except (RuntimeError, ValueError, TypeError) as error:
            raise DataError(f"{file}: not word vectors ({error}); give a text file as GloVe and fastText write them") from error


class Intents(CSV):
    """560 everyday requests of ten kinds, and 140 in other words for testing, written for this project."""

    def __init__(self, root: str = str(Path(__file__).with_name("intents")), **options):
        super().__init__(root, **options)


class Torchtext(CSV):
    """A set of `torchtext.datasets` by its name, downloaded if it is not in `root`; or `train.csv` and `test.csv` there."""

    source: Callable  # of (root, split) -> pairs of a label's number, from 1 on, and a text
    names: tuple[str, ...]  # of the labels

    def read(self) -> dict[str, list[Example]]:
        if self.root.is_file() or (self.root / "train.csv").is_file():
            return super().read()
        return {name: list(self.load(name)) for name in ("train", "test")}

    def load(self, part: str) -> Iterator[Example]:
        name = type(self).__name__
        try:
            for place, (number, text) in enumerate(type(self).source(root=str(self.root), split=part)):
                yield Example(text.encode(), self.names[int(number) - 1], f"{name}: {part} {place}", ".txt")
        except Exception as error:  # torchdata wraps what failed in exceptions of many kinds
            raise DataError(
                f"{name} is not in {self.root}/ and cannot be downloaded ({root_cause(error)}); "
                "give a folder with train.csv and test.csv with DATA=<folder>"
            ) from error


class AG_NEWS(Torchtext):
    """127,600 news items of four topics."""

    source = staticmethod(datasets.AG_NEWS)
    names = ("World", "Sports", "Business", "Sci/Tech")


class IMDB(Torchtext):
    """50,000 film reviews, for or against."""

    source = staticmethod(datasets.IMDB)
    names = ("neg", "pos")


def rows(file: Path, label: str, text: str) -> Iterator[Example]:
    """The examples in a CSV file with a header.

    Raises:
        DataError: what is wrong, with the line where its row begins.
    """
    lines = records(file)
    first, header = next(lines, (1, []))
    for column in (label, text):
        if column not in header:
            raise DataError(f"{file}:{first}: no column {column!r}; the header is {','.join(header) or 'missing'}")
    for line, fields in lines:
        if len(fields) != len(header):
            raise DataError(f"{file}:{line}: {len(fields)} fields; the header has {len(header)}: quote texts that hold commas")
        row = dict(zip(header, fields, strict=True))
        for column in (label, text):
            if not row[column].strip():
                raise DataError(f"{file}:{line}: the {column} is empty; fill it or remove the row")
        yield Example(row[text].encode(), row[label].strip(), f"{file}:{line}", ".txt")


def root_cause(error: BaseException) -> BaseException:
    """The first of a chain of errors: torchdata puts its own words in the place of what went wrong."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__
    return error
