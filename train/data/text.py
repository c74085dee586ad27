"""Texts: the requests that come with the project, torchtext's sets by name, and any CSV. The only file that imports torchtext.

Knows nothing of how a text becomes numbers, but for the vocabulary that it chooses: `model_defs/text.py` decodes.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import torchtext

torchtext.disable_torchtext_deprecation_warning()

from torchtext import datasets  # noqa: E402
from torchtext.data.utils import get_tokenizer, ngrams_iterator  # noqa: E402
from torchtext.vocab import build_vocab_from_iterator  # noqa: E402

from model_defs.text import Words  # noqa: E402
from train.data.examples import DOWNLOADS, DataError, Example, Examples, split  # noqa: E402
from train.data.spreadsheet import records  # noqa: E402


class CSV(Examples):
    """`root/train.csv` and `root/test.csv` (and `validation.csv`, if there), or one CSV file, of which a fifth is for testing.

    Args:
        label: the column of labels.
        text: the column of texts.
    """

    def __init__(self, root: str = DOWNLOADS, label: str = "label", text: str = "text", **options):
        super().__init__(root, **options)
        self.columns = label, text

    def read(self) -> dict[str, list[Example]]:
        if self.root.is_file():
            train, test = split(list(rows(self.root, *self.columns)), 0.2, self.seed)
            return {"train": train, "test": test}
        files = {name: self.root / f"{name}.csv" for name in ("train", "test", "validation")}
        for name in ("train", "test"):
            if not files[name].is_file():
                raise DataError(f"{files[name]}: no such file; DATA=<folder> takes one with train.csv and test.csv")
        return {name: list(rows(file, *self.columns)) for name, file in files.items() if file.is_file()}

    def fit(self, transform: Words) -> None:
        """Build the vocabulary from the training split alone, by torchtext."""
        tokenize = get_tokenizer("basic_english")
        texts = (example.read().decode() for example in self.splits["train"])
        vocabulary = build_vocab_from_iterator(
            (ngrams_iterator(tokenize(text), transform.ngrams) for text in texts),
            min_freq=transform.min_freq,
            specials=["<unk>"],
            max_tokens=transform.max_tokens,
        )
        transform.tokens = vocabulary.get_itos()


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
