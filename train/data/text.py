"""Texts: the requests that come with the project, AG News and IMDB by name, and any CSV.

`model_defs/text.py` and its neighbours turn a text into numbers. This module chooses the vocabulary and reads word vectors.
Where torchtext is installed, torchtext does that and reads the named sets: see `torchtext_source.py`.
"""

import csv
import tarfile
from collections.abc import Iterator
from functools import singledispatch
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

import torch
from torch import nn
from torchvision.datasets.utils import download_url

from model_defs.text import NgramTransform
from model_defs.transform import Transform
from model_defs.transformer import SubwordTransform
from train.data.bpe import train_tokenizer
from train.data.csv_rows import records
from train.data.examples import DOWNLOADS, DataError, Example, Examples, split

HAS_TORCHTEXT = find_spec("torchtext") is not None  # only in .venv-torchtext
if HAS_TORCHTEXT:
    from train.data import torchtext_source
    from train.data.torchtext_source import build_vocabulary, read_vectors
else:
    from train.data.vectors import read_vectors
    from train.data.vocabulary import build_vocabulary


class TextCSV(Examples):
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
        if HAS_TORCHTEXT:
            print(f"texts by torchtext {torchtext_source.VERSION}", flush=True)
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
        if self.vectors and not isinstance(transform, NgramTransform):
            raise DataError(f"vectors: word vectors are for transforms of words; {type(transform).__name__} is none")
        learn(transform, (example.read().decode() for example in self.splits["train"]))
        if self.vectors:
            known = {*transform.tokens}
            transform.tokens += [word for word in self.vectors.index if word not in known][: self.unseen]

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
        rows = self.vectors.index
        found = {number: rows[word] for word, number in transform.vocabulary.items() if word in rows}
        with torch.no_grad():
            table.weight[[*found]] = self.vectors.table[[*found.values()]]
        print(f"word vectors for {len(found):,} of {len(transform.vocabulary):,} words; the others are learned", flush=True)


@singledispatch
def learn(transform: Transform, texts: Iterator[str]) -> None:
    """Let the transform learn from texts what it needs."""
    raise DataError(f"{type(transform).__name__} is no transform of texts")


@learn.register
def _(transform: NgramTransform, texts: Iterator[str]) -> None:
    """Its vocabulary."""
    transform.tokens = build_vocabulary(texts, transform.ngrams, transform.max_tokens, transform.min_freq)


@learn.register
def _(transform: SubwordTransform, texts: Iterator[str]) -> None:
    """Its tokenizer, unless it has one already."""
    if transform.tokenizer is None:
        transform.written = train_tokenizer(texts, transform.vocab_size)


class Intents(TextCSV):
    """560 everyday requests of ten kinds, and 140 in other words for testing, written for this project."""

    def __init__(self, root: str = str(Path(__file__).with_name("intents")), **options):
        super().__init__(root, **options)


class Named(TextCSV):
    """A public set by its name, downloaded if it is not in `root`; or `train.csv` and `test.csv` there.

    On disk it lies where torchtext puts it: `root/datasets/<name>/`.
    """

    files: ClassVar[dict[str, tuple[str, str]]]  # by their name on disk: where from, and their MD5
    names: tuple[str, ...]  # of the labels

    def read(self) -> dict[str, list[Example]]:
        if self.root.is_file() or (self.root / "train.csv").is_file():
            return super().read()
        if HAS_TORCHTEXT:
            read_part = self.torchtext_pairs
        else:
            self.download()
            read_part = self.pairs
        name = type(self).__name__
        return {
            part: [
                Example(text.encode(), label, f"{name}: {part} {index}", ".txt")
                for index, (label, text) in enumerate(read_part(part))
            ]
            for part in ("train", "test")
        }

    @property
    def folder(self) -> Path:
        return self.root / "datasets" / type(self).__name__

    def download(self) -> None:
        """
        Raises:
            DataError: a file is not there and cannot be had, or it is another one.
        """
        try:
            for file, (url, md5) in self.files.items():
                download_url(url, self.folder, file, md5)
        except (OSError, RuntimeError) as error:
            raise self.unavailable(error) from error

    def unavailable(self, reason: object) -> DataError:
        return DataError(
            f"{type(self).__name__} is not in {self.root}/ and cannot be downloaded ({reason}); "
            "give a folder with train.csv and test.csv with DATA=<folder>"
        )

    def torchtext_pairs(self, part: str) -> list[tuple[str, str]]:
        """As `pairs`, by torchtext; for the error see `download`."""
        try:
            return torchtext_source.read_pairs(type(self).__name__, self.names, self.root, part)
        except OSError as error:
            raise self.unavailable(error) from error

    def pairs(self, part: str) -> Iterator[tuple[str, str]]:
        """The labels and texts of "train" or "test"."""
        raise NotImplementedError


class AG_NEWS(Named):
    """127,600 news items of four topics."""

    URL = "https://raw.githubusercontent.com/mhjabreel/CharCnn_Keras/master/data/ag_news_csv"
    files: ClassVar = {
        "train.csv": (f"{URL}/train.csv", "b1a00f826fdfbd249f79597b59e1dc12"),
        "test.csv": (f"{URL}/test.csv", "d52ea96a97a2d943681189a97654912d"),
    }
    names = ("World", "Sports", "Business", "Sci/Tech")

    def pairs(self, part: str) -> Iterator[tuple[str, str]]:
        with (self.folder / f"{part}.csv").open(encoding="utf-8", newline="") as opened:
            for class_id, *texts in csv.reader(opened):
                yield self.names[int(class_id) - 1], " ".join(texts)


class IMDB(Named):
    """50,000 film reviews, for or against."""

    files: ClassVar = {
        "aclImdb_v1.tar.gz": (
            "http://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",
            "7c2ac02c03563afcf9b574c7e56c153a",
        )
    }
    names = ("neg", "pos")

    def pairs(self, part: str) -> Iterator[tuple[str, str]]:
        with tarfile.open(self.folder / "aclImdb_v1.tar.gz") as archive:
            for entry in archive:
                *_, folder, label, _file = ("", "", *Path(entry.name).parts)
                if entry.isfile() and folder == part and label in self.names:
                    yield label, archive.extractfile(entry).read().decode()


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
