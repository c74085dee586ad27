"""Pictures with texts: questions about drawn shapes, and a folder of pictures with a CSV of texts and labels."""

import base64
from typing import Any

from model_defs.image_text import ImageTextTransform
from model_defs.json_input import SUFFIX, body, inputs_of, parsed
from model_defs.text import typed
from train.data.csv_rows import Row, csv_splits
from train.data.example import DataError, Example
from train.data.examples import Examples
from train.data.splits import Splits
from train.data.synthetic.questions import question
from train.data.vision import png_bytes
from train.data.vocabulary import build_vocabulary

COLUMNS = ("image", "text", "label")


class ImageTextCSV(Examples):
    """`root/train.csv` and `root/test.csv` (and `validation.csv`), or one CSV file.

    The columns are `image`, a path relative to the CSV file, `text` and `label`.
    """

    def read_root(self) -> Splits:
        splits = csv_splits(self.root, COLUMNS)
        return {name: [self.example_of(row) for row in rows] for name, rows in splits.items()}

    def example_of(self, row: Row) -> Example:
        """
        Raises:
            DataError: the picture does not exist.
        """
        folder = self.root.parent if self.root.is_file() else self.root
        image, text, label = (row.cells[name].strip() for name in COLUMNS)
        if not (folder / image).is_file():
            raise DataError(f"{row.source}: {folder / image} is not there")
        return image_text_example((folder / image).read_bytes(), text, label, row.source)

    def fit(self, transform: ImageTextTransform) -> None:
        """Learn the vocabulary of the training split: its n-grams, the most frequent first."""
        words = transform.words
        texts = (inputs_of(parsed(example.read()))["text"] for example in self.splits["train"])
        words.tokens = build_vocabulary(map(typed, texts), words.ngrams, words.max_tokens, words.min_freq)


class Questions(ImageTextCSV):
    """Questions about drawn shapes that `train/data/synthetic/questions.py` makes. Or CSV.

    Args:
        count: for training; a fifth as many are for testing.
    """

    built_in_options = ("count",)

    def __init__(self, *args: Any, count: int = 2_500, **options: Any):
        super().__init__(*args, **options)
        self.count = count

    def built_in(self) -> Splits:
        first, tested = 1_000_000 * self.seed, max(1, self.count // 5)
        asked = [self.asked(first + index) for index in range(self.count + tested)]
        return {"train": asked[: self.count], "test": asked[self.count :]}

    def asked(self, seed: int) -> Example:
        picture, text, answer = question(seed)
        return image_text_example(png_bytes(picture), text, answer, f"drawn question {seed}")


def image_text_example(picture: bytes, text: str, label: str, source: str) -> Example:
    """The example whose payload is a request's body."""
    return Example(body({"image": base64.b64encode(picture).decode(), "text": text}), label, source, SUFFIX)
