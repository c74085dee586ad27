"""Pictures with texts: questions about drawn shapes, and a folder of pictures with a CSV that says what belongs to each.

Knows nothing of sizes, nor of how a text becomes numbers, but for the vocabulary that it hands to the transform:
`model_defs/image_text.py` decodes.
"""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from model_defs.image_text import ImageTextTransform
from model_defs.json_input import SUFFIX, body, inputs_of, parsed
from train.data.csv_rows import records
from train.data.examples import DOWNLOADS, DataError, Example, Examples, split
from train.data.synthetic.questions import question
from train.data.vision import png
from train.data.vocabulary import build_vocabulary

COLUMNS = ("image", "text", "label")


def example(picture: bytes, text: str, label: str, source: str) -> Example:
    return Example(body({"image": base64.b64encode(picture).decode(), "text": text}), label, source, SUFFIX)


class ImageTextCSV(Examples):
    """`root/train.csv` and `root/test.csv` (and `validation.csv`, if there), or one CSV file, of which a fifth is for testing.

    The columns are `image`, a path from the CSV's folder, `text` and `label`.
    """

    def read(self) -> dict[str, list[Example]]:
        if self.root.is_file():
            train, test = split(list(self.rows(self.root)), 0.2, self.seed)
            return {"train": train, "test": test}
        files = {name: self.root / f"{name}.csv" for name in ("train", "test", "validation")}
        for name in ("train", "test"):
            if not files[name].is_file():
                raise DataError(f"{files[name]}: no such file; DATA=<folder> takes one with train.csv and test.csv")
        return {name: list(self.rows(file)) for name, file in files.items() if file.is_file()}

    def rows(self, file: Path) -> Iterator[Example]:
        """
        Raises:
            DataError: a column is missing, a cell empty, or a picture not there.
        """
        lines = records(file)
        first, header = next(lines, (1, []))
        for name in COLUMNS:
            if name not in header:
                raise DataError(f"{file}:{first}: no column {name!r}; the header is {','.join(header) or 'missing'}")
        for line, fields in lines:
            cells = dict(zip(header, map(str.strip, fields), strict=False))
            for name in COLUMNS:
                if not cells.get(name):
                    raise DataError(f"{file}:{line}: the {name} is empty; fill it or remove the row")
            picture = file.parent / cells["image"]
            if not picture.is_file():
                raise DataError(f"{file}:{line}: {picture} is not there")
            yield example(picture.read_bytes(), cells["text"], cells["label"], f"{file}:{line}")

    def fit(self, transform: ImageTextTransform) -> None:
        """The vocabulary: the n-grams of the training split, the most frequent first."""
        words = transform.words
        texts = (inputs_of(parsed(example.read()))["text"] for example in self.splits["train"])
        words.tokens = build_vocabulary(texts, words.ngrams, words.max_tokens, words.min_freq)


class Questions(ImageTextCSV):
    """Questions about drawn shapes that `train/data/synthetic/questions.py` makes; or CSV.

    Args:
        count: for training; a fifth as many are for testing.
    """

    def __init__(self, root: str = DOWNLOADS, count: int = 2_500, **options: Any):
        super().__init__(root, **options)
        self.count = count

    def read(self) -> dict[str, list[Example]]:
        if self.root != Path(DOWNLOADS):
            return super().read()
        first, tested = 1_000_000 * self.seed, max(1, self.count // 5)
        made = [self.made(first + seed) for seed in range(self.count + tested)]
        return {"train": made[: self.count], "test": made[self.count :]}

    def made(self, seed: int) -> Example:
        picture, text, answer = question(seed)
        return example(png(picture), text, answer, f"drawn question {seed}")
