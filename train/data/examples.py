"""Where `(bytes, label)` come from: what all data sets share.

A data set says what its examples are; here they are split, read once before the first epoch, and handed out in batches.
Knows nothing of a modality: the transform decodes, and its `collate` is the one that serves.
"""

import hashlib
import random
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from lightning import LightningDataModule
from rich.progress import track
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from model_defs.errors import InputError
from model_defs.transform import Transform

DOWNLOADS = "data/downloads"
MOST_NAMED = 5  # unreadable examples that an error lists
DECODERS = 4  # threads; Pillow and libsndfile let go of the interpreter's lock


class DataError(Exception):
    """The data cannot be used; the message names the file and the line, and says what to do."""


class Example(NamedTuple):
    """One input and what it is.

    Args:
        payload: its bytes, or the file that holds them.
        label: what it is.
        source: where it stands, for messages: a path, or `train.csv:17`.
        suffix: how a file of it is named: ".png".
    """

    payload: bytes | Path
    label: str
    source: str
    suffix: str

    def read(self) -> bytes:
        return self.payload.read_bytes() if isinstance(self.payload, Path) else self.payload


class Examples(LightningDataModule):
    """The base of every data set: a subclass says what `read` gives.

    Args:
        root: where the data lies, or is downloaded to.
        batch_size: examples in a batch.
        num_workers: processes that decode; of use where `cache` is off.
        validation: share of the training split that is kept for choosing the epoch, where the set has no split for that.
        cache: keep decoded samples in memory, so that each is decoded once.
        seed: of every random split.
    """

    def __init__(
        self,
        root: str = DOWNLOADS,
        batch_size: int = 64,
        num_workers: int = 0,
        validation: float = 0.1,
        cache: bool = True,
        seed: int = 0,
    ):
        super().__init__()
        self.root, self.batch_size, self.num_workers = Path(root), batch_size, num_workers
        self.validation, self.cache, self.seed = validation, cache, seed
        self.splits: dict[str, list[Example]] = {}
        self.samples: dict[str, list] = {}

    def read(self) -> dict[str, list[Example]]:
        """The examples of "train", "test" and, where the set has one, "validation".

        Raises:
            DataError: nothing there, or nothing that can be read.
        """
        raise NotImplementedError

    def setup(self, stage: str | None = None) -> None:
        if self.splits:
            return
        if not 0 < self.validation < 1:
            raise DataError(f"validation={self.validation} is not a share of the training split: give more than 0, less than 1")
        splits = self.read()
        if "validation" not in splits:
            splits["train"], splits["validation"] = split(splits["train"], self.validation, self.seed)
        self.labels = sorted({example.label for example in splits["train"]}, key=natural)
        for name, examples in splits.items():
            if not examples:
                raise DataError(f"{self.root}: the {name} split has no examples")
            for example in examples:
                if example.label not in self.labels:
                    raise DataError(f"{example.source}: the label {example.label!r} is in no training example")
        if len(self.labels) < 2:
            raise DataError(f"{self.root}: every example is {self.labels[0]!r}; at least two labels are expected")
        self.splits = splits

    @property
    def num_classes(self) -> int:
        return len(self.labels)

    def fit(self, transform: Transform) -> None:
        """Let the transform learn from the training split what it needs; most need nothing."""

    def check(self, transform: Transform) -> None:
        """Decode every example, before the first epoch, and keep the samples if there is a cache.

        Raises:
            DataError: some cannot be decoded; the message lists the first few.
        """
        wrong: list[str] = []
        quiet = not sys.stdout.isatty()

        def decode(example: Example):
            try:
                return transform(example.read())
            except (InputError, OSError) as error:
                wrong.append(f"{example.source}: {error}")

        for name, examples in self.splits.items():
            with ThreadPoolExecutor(DECODERS) as threads:
                decoded = track(threads.map(decode, examples), f"reading {name}", len(examples), transient=True, disable=quiet)
                self.samples[name] = [sample if self.cache else None for sample in decoded]
        if wrong:
            more = f"\n  and {len(wrong) - MOST_NAMED:,} more" if len(wrong) > MOST_NAMED else ""
            listed = "".join(f"\n  {line}" for line in sorted(wrong)[:MOST_NAMED])
            raise DataError(f"{len(wrong):,} examples cannot be read; mend or remove them:{listed}{more}")

    def counts(self) -> dict[str, int]:
        """Examples in each split."""
        return {name: len(examples) for name, examples in self.splits.items()}

    def fingerprint(self) -> str:
        """SHA-256 over every example's split, label and bytes, whatever their order and their files' names."""
        entries = sorted(
            f"{name} {example.label} {hashlib.sha256(example.read()).hexdigest()}"
            for name, examples in self.splits.items()
            for example in examples
        )
        return hashlib.sha256("\n".join(entries).encode()).hexdigest()

    def test_examples(self) -> list[Example]:
        return self.splits["test"]

    def train_dataloader(self) -> DataLoader:
        generator = torch.Generator().manual_seed(self.seed)
        # Without the rest: a last batch of one example has no deviation for batch norm to divide by.
        return self.loader("train", self.trainer.lightning_module.augment, shuffle=True, drop_last=True, generator=generator)

    def val_dataloader(self) -> DataLoader:
        return self.loader("validation", None)

    def test_dataloader(self) -> DataLoader:
        return self.loader("test", None)

    def loader(self, name: str, augment: Callable | None, **options) -> DataLoader:
        transform = self.trainer.lightning_module.transform
        samples = Samples(self.splits[name], self.samples[name] if self.cache else None, transform, augment, self.labels)
        if len(samples) < self.batch_size:
            options["drop_last"] = False
        collate_fn = partial(collate, transform)
        return DataLoader(samples, self.batch_size, num_workers=self.num_workers, collate_fn=collate_fn, **options)


class Samples(Dataset):
    """(decoded and, for training, augmented sample, label's number) by place."""

    def __init__(self, examples: list[Example], cached: list | None, transform: Transform, augment, labels: list[str]):
        self.examples, self.cached, self.transform, self.augment = examples, cached, transform, augment
        self.numbers = {label: number for number, label in enumerate(labels)}

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, place: int) -> tuple:
        example = self.examples[place]
        sample = self.cached[place] if self.cached else self.transform(example.read())
        return self.augment(sample) if self.augment else sample, self.numbers[example.label]


def collate(transform: Transform, pairs: Sequence[tuple]) -> tuple[tuple[Tensor, ...], Tensor]:
    """Pairs of `Samples` -> the network's inputs, and (B,) int64. Not inside `loader`: workers that are spawned unpickle it."""
    decoded, numbers = zip(*pairs, strict=True)
    return transform.collate(list(decoded)), torch.tensor(numbers)


def natural(label: str) -> list:
    """A sort key that puts "2" before "10"."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.findall(r"[0-9]+|[^0-9]+", label)]


def split(examples: list[Example], share: float, seed: int) -> tuple[list[Example], list[Example]]:
    """The rest, and `share` of each label's examples, chosen at random; at least one of each label that has two."""
    by_label: dict[str, list[Example]] = defaultdict(list)
    for example in examples:
        by_label[example.label].append(example)
    chosen: set[int] = set()
    generator = random.Random(seed)
    for label in sorted(by_label):
        count = min(len(by_label[label]) - 1, max(1, round(share * len(by_label[label]))))
        chosen.update(id(example) for example in generator.sample(by_label[label], count))
    return [one for one in examples if id(one) not in chosen], [one for one in examples if id(one) in chosen]


def open_set(source: Callable, root: Path, **options):
    """The set of torchvision or torchaudio that lies in `root`, downloaded if it is not there.

    Raises:
        DataError: it is neither there nor to be had.
    """
    try:
        try:
            return source(root, **options)
        except (OSError, RuntimeError):
            root.mkdir(parents=True, exist_ok=True)
            return source(root, download=True, **options)
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"{source.__name__} is not in {root}/ and cannot be downloaded ({error}); "
            "give a folder that holds it, or one of class folders, with DATA=<folder>"
        ) from error


def has_class_folders(root: Path, suffixes: set[str]) -> bool:
    """Whether `class_folders` is what reads `root`: it has `train/`, or two folders with files of these kinds."""
    if (root / "train").is_dir():
        return True
    if not root.is_dir():
        return False
    return sum(any(file.suffix.lower() in suffixes for file in folder.iterdir()) for folder in folders(root)) > 1


def class_folders(root: Path, suffixes: set[str], seed: int) -> dict[str, list[Example]]:
    """`root/train/<class>/*`, `root/test/<class>/*` and, if there, `root/validation/<class>/*` (or `val`); or `root/<class>/*`,
    of which a fifth becomes the test split.

    Raises:
        DataError: no such folder, no class folders, or one without a file of these kinds.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; say where the data lies with DATA=<folder>")
    if not (root / "train").is_dir():
        train, test = split(list(in_classes(root, suffixes)), 0.2, seed)
        return {"train": train, "test": test}
    names = {"train": ("train",), "test": ("test",), "validation": ("validation", "val", "valid")}
    found = {
        name: list(in_classes(root / folder, suffixes))
        for name, spellings in names.items()
        for folder in spellings
        if (root / folder).is_dir()
    }
    if "test" not in found:
        raise DataError(f"{root}: has train/ and no test/; put some of each class into {root / 'test'}/<class>/")
    return found


def in_classes(folder: Path, suffixes: set[str]) -> Iterator[Example]:
    """The files of each sub-folder, which is named for what they are; hidden ones are left out."""
    classes = folders(folder)
    if len(classes) < 2:
        raise DataError(f"{folder}: {len(classes)} class folders; at least two are expected, such as {folder}/cat/1.jpg")
    for place in classes:
        files = sorted(file for file in place.rglob("*") if file.suffix.lower() in suffixes and not is_hidden(file, place))
        if not files:
            kinds = " ".join(sorted(suffixes)[:12])
            raise DataError(f"{place}: no file of a kind that this model reads ({kinds} ...); remove the folder or fill it")
        yield from (Example(file, place.name, str(file), file.suffix.lower()) for file in files)


def folders(root: Path) -> list[Path]:
    return sorted(entry for entry in root.iterdir() if entry.is_dir() and not is_hidden(entry, root))


def is_hidden(file: Path, root: Path) -> bool:
    """Whether the file, or a folder between it and `root`, has a name that begins with a dot."""
    return any(part.startswith(".") for part in file.relative_to(root).parts)
