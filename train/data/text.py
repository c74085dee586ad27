"""Texts for classification: the requests that come with the project, AG News and IMDB by name, and any CSV.

The vocabulary, or the tokenizer, is learned here. Word vectors from a file become the network's initial ones. Where torchtext is
installed, it builds the vocabulary and reads vectors and named sets: see `torchtext_source.py`.
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

from model_defs.text import NgramTransform, typed
from model_defs.transform import Transform
from model_defs.transformer import SubwordTransform
from train.data.bpe import train_tokenizer
from train.data.csv_rows import csv_splits
from train.data.downloads import DOWNLOADS
from train.data.example import DataError, Example
from train.data.examples import Examples
from train.data.splits import Splits

UNSEEN = 20_000  # words that are only in the vectors, at most
HAS_TORCHTEXT = find_spec("torchtext") is not None  # only in .venv-torchtext
if HAS_TORCHTEXT:
    from train.data import torchtext_source
    from train.data.torchtext_source import build_vocabulary, read_vectors
else:
    from train.data.vectors import read_vectors
    from train.data.vocabulary import build_vocabulary


class TextCSV(Examples):
    """`root/train.csv` and `root/test.csv` (and `validation.csv`), or one CSV file.

    Args:
        label: the column of labels.
        text: the column of texts.
        vectors: a text file of word vectors, GloVe's or fastText's; they become the network's initial ones.
        unseen: the network also learns up to this many words that the vectors have and the training split lacks. The file's
            first words are taken, which are the most frequent ones.
    """

    def __init__(
        self,
        root: str | None = None,
        label: str = "label",
        text: str = "text",
        vectors: str | None = None,
        unseen: int = UNSEEN,
        **options,
    ):
        super().__init__(root, **options)
        if HAS_TORCHTEXT:
            print(f"texts by torchtext {torchtext_source.VERSION}", flush=True)
        if label == text:
            raise DataError(f"label={label} text={text}: the text would be its own label; name two columns")
        if unseen != UNSEEN and not vectors:
            raise DataError(f"unseen={unseen} is of word vectors, and none are given: --data.vectors=file, or leave it out")
        self.columns = label, text
        self.unseen = unseen
        self.vectors = read_vectors(Path(vectors)) if vectors else None

    def read_root(self) -> Splits:
        label, text = self.columns
        return {
            name: [Example(row.cells[text].encode(), row.cells[label].strip(), row.source, ".txt") for row in rows]
            for name, rows in csv_splits(self.root, self.columns).items()
        }

    def fit(self, transform: Transform) -> None:
        """Learn the words, or the pieces of words, from the training split. Words of `vectors` are added.

        Raises:
            DataError: the transform does not take texts, or there are word vectors and it does not take words.
        """
        if self.vectors and not isinstance(transform, NgramTransform):
            raise DataError(f"vectors: word vectors are for transforms of words; {type(transform).__name__} is none")
        learn(transform, (example.read().decode() for example in self.splits["train"]))
        if self.vectors:
            known = {*transform.tokens}
            transform.tokens += [word for word in self.vectors.index if word not in known][: self.unseen]

    def init_weights(self, network: nn.Module, transform: Transform) -> None:
        """Copy the word vectors into the network's embedding.

        Raises:
            DataError: the network has no embedding of that size.
        """
        if not self.vectors:
            return
        table = getattr(network, "embedding", None)
        if table is None or table.weight.shape[1] != self.vectors.dim:
            has = "no word vectors" if table is None else f"vectors of {table.weight.shape[1]}"
            raise DataError(
                f"vectors of {self.vectors.dim} numbers are for a network with dim: {self.vectors.dim}; this has {has}"
            )
        rows = self.vectors.index
        found = {index: rows[word] for word, index in transform.vocabulary.items() if word in rows}
        with torch.no_grad():
            table.weight[[*found]] = self.vectors.table[[*found.values()]]
        print(f"word vectors for {len(found):,} of {len(transform.vocabulary):,} words; the others are learned", flush=True)


@singledispatch
def learn(transform: Transform, texts: Iterator[str]) -> None:
    """Let the transform learn what it needs from texts."""
    raise DataError(f"{type(transform).__name__} is no transform of texts")


@learn.register
def _(transform: NgramTransform, texts: Iterator[str]) -> None:
    """The vocabulary."""
    transform.tokens = build_vocabulary(map(typed, texts), transform.ngrams, transform.max_tokens, transform.min_freq)


@learn.register
def _(transform: SubwordTransform, texts: Iterator[str]) -> None:
    """The tokenizer, unless it has one already."""
    if transform.tokenizer is None:
        transform.written = train_tokenizer(texts, transform.vocab_size)


class Intents(TextCSV):
    """560 everyday requests of ten kinds, and 140 in other words for testing, written for this project."""

    default_root = str(Path(__file__).with_name("intents"))


class Named(TextCSV):
    """A public set by its name, downloaded if it is not in `root`; or `train.csv` and `test.csv` there.

    On disk it lies where torchtext puts it: `root/datasets/<name>/`.
    """

    default_root = DOWNLOADS
    files: ClassVar[dict[str, tuple[str, str]]]  # name on disk -> URL, MD5
    names: tuple[str, ...]  # of the labels

    def read_root(self) -> Splits:
        if self.root.is_file() or (self.root / "train.csv").is_file():
            return super().read_root()
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
            DataError: a file is missing and cannot be downloaded, or it is another file.
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
        """(label, text) of each example of "train" or "test"."""
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
