"""Where examples come from, each the bytes of an input and what is true of it: what all data sets share.

A data set says what its examples are; here they are split, read once before the first epoch, and handed out in batches.
Knows nothing of a modality, whose transform decodes and collates as when serving; nor of losses, whose targets `targets.py`
makes of what is true.
"""

import hashlib
import json
import random
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning import LightningDataModule
from rich.progress import track
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from model_defs.errors import BundleError, InputError
from model_defs.transform import Transform
from train.data.sampler import ResumableBatchSampler, ResumableLoader
from train.targets import Targets

DOWNLOADS = "data/downloads"
MOST_NAMED = 5  # unreadable examples that an error lists
DECODERS = 4  # threads; Pillow and libsndfile let go of the interpreter's lock


class DataError(BundleError):
    """The data cannot be used; the message names the file and the line, and says what to do."""


class Example(NamedTuple):
    """One input and what it is.

    Args:
        payload: its bytes, or the file that holds them.
        truth: what is true of it, in the terms of `model_defs/metrics.py`: a label; boxes; masks.
        source: where it stands, for messages: a path, or `train.csv:17`.
        suffix: how a file of it is named: ".png".
    """

    payload: bytes | Path
    truth: Any
    source: str
    suffix: str

    def read(self) -> bytes:
        return self.payload.read_bytes() if isinstance(self.payload, Path) else self.payload


class Examples(LightningDataModule):
    """The base of every data set: a subclass says what `read` gives, and where a truth is more than a label, `labels_of`.

    Args:
        root: where the data lies, or is downloaded to.
        batch_size: examples in a batch.
        num_workers: processes that decode; of use where `cache` is off.
        validation: share of the training split that is kept for choosing the epoch, where the set has no split for that.
        classes: only the examples of these labels; all if left out.
        cache: keep decoded samples in memory, so that each is decoded once.
        seed: of every random split.
    """

    def __init__(
        self,
        root: str = DOWNLOADS,
        batch_size: int = 64,
        num_workers: int = 0,
        validation: float = 0.1,
        classes: list[str] | None = None,
        cache: bool = True,
        seed: int = 0,
    ):
        super().__init__()
        self.root, self.batch_size, self.num_workers = Path(root), batch_size, num_workers
        self.validation, self.classes, self.cache, self.seed = validation, classes, cache, seed
        self.splits: dict[str, list[Example]] = {}
        self.samples: dict[str, list] = {}
        self.place = {"epoch": 0, "batches": 0}  # where the training begins

    FEWEST_LABELS = 2  # to learn from

    def read(self) -> dict[str, list[Example]]:
        """The examples of "train", "test" and, where the set has one, "validation".

        Raises:
            DataError: nothing there, or nothing that can be read.
        """
        raise NotImplementedError

    def prepare_data(self) -> None:
        """Lightning calls this in one process of a machine while the others wait: so that only one downloads."""
        self.setup()

    def setup(self, stage: str | None = None) -> None:
        if self.splits:
            return
        if not 0 < self.validation < 1:
            raise DataError(f"validation={self.validation} is not a share of the training split: give more than 0, less than 1")
        splits = self.read()
        if self.classes:
            splits = {name: list(filter(self.is_wanted, found)) for name, found in splits.items()}
        if "validation" not in splits:
            splits["train"], splits["validation"] = split(splits["train"], self.validation, self.seed)
        self.labels = sorted({label for example in splits["train"] for label in self.labels_of(example.truth)}, key=natural)
        for name, examples in splits.items():
            if not examples:
                raise DataError(f"{self.root}: the {name} split has no examples")
            for example in examples:
                for label in self.labels_of(example.truth) - {*self.labels}:
                    raise DataError(f"{example.source}: the label {label!r} is in no training example")
        if len(self.labels) < self.FEWEST_LABELS:
            raise DataError(
                f"{self.root}: every example is {', '.join(self.labels) or 'without a label'}; "
                f"labels expected: {self.FEWEST_LABELS} or more"
            )
        self.splits = splits

    def labels_of(self, truth: Any) -> set[str]:
        """The labels that a truth speaks of."""
        return {truth}

    def is_wanted(self, example: Example) -> bool:
        return self.labels_of(example.truth) <= {*self.classes}

    def fit(self, transform: Transform) -> None:
        """Let the transform learn from the training split what it needs; most need nothing."""

    def equip(self, network: nn.Module, transform: Transform) -> None:
        """Give the network the first weights that come with the data, as word vectors do; most data have none."""

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
            f"{name} {as_text(example.truth)} {hashlib.sha256(example.read()).hexdigest()}"
            for name, examples in self.splits.items()
            for example in examples
        )
        return hashlib.sha256("\n".join(entries).encode()).hexdigest()

    def test_examples(self) -> list[Example]:
        return self.splits["test"]

    def train_dataloader(self) -> DataLoader:
        self.learning = self.loader("train", self.trainer.lightning_module.augment, self.seed, generator=torch.Generator())
        self.learning.load_state_dict(self.place)
        return self.learning

    def state_dict(self) -> dict[str, int]:
        """Where in its examples a training is: a part of its checkpoint."""
        return self.learning.state_dict()

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Lightning calls this before it asks for the loader, and the loader's own, which it also has, too late."""
        self.place = state

    def val_dataloader(self) -> DataLoader:
        return self.loader("validation", None)

    def test_dataloader(self) -> DataLoader:
        return self.loader("test", None)

    def loader(self, name: str, augment: Callable | None, seed: int | None = None, **options) -> DataLoader:
        task = self.trainer.lightning_module
        targets = task.targets(self.labels, augment)
        samples = Samples(self.splits[name], self.samples[name] if self.cache else None, task.transform, targets)
        try:
            batches = ResumableBatchSampler(
                len(samples), self.batch_size, seed, self.trainer.global_rank, self.trainer.world_size
            )
        except ValueError as error:
            raise DataError(f"{self.root}: the {name} split has {error}; train with fewer, or give it more") from None
        collate_fn = partial(collate, task.transform, targets)
        return ResumableLoader(samples, batch_sampler=batches, num_workers=self.num_workers, collate_fn=collate_fn, **options)


class Samples(Dataset):
    """(decoded and, for training, augmented sample, its target) by place."""

    def __init__(self, examples: list[Example], cached: list | None, transform: Transform, targets: Targets):
        self.examples, self.cached, self.transform, self.targets = examples, cached, transform, targets

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, place: int) -> tuple:
        example = self.examples[place]
        sample = self.cached[place] if self.cached else self.transform(example.read())
        return self.targets(sample, example.truth)


def collate(transform: Transform, targets: Targets, pairs: Sequence[tuple]) -> tuple[tuple[Tensor, ...], Any]:
    """Pairs of `Samples` -> the network's inputs, and the batch's targets. Not inside `loader`: spawned workers unpickle it."""
    samples, found = zip(*pairs, strict=True)
    return transform.collate(list(samples)), targets.collate(list(found))


def as_text(truth: Any) -> str:
    """A truth in one line; a label is its own."""
    return truth if isinstance(truth, str) else json.dumps(truth, sort_keys=True)


def natural(label: str) -> list:
    """A sort key that puts "2" before "10"."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.findall(r"[0-9]+|[^0-9]+", label)]


def split(examples: list[Example], share: float, seed: int) -> tuple[list[Example], list[Example]]:
    """The rest, and `share` of each label's examples, chosen at random; at least one of each label that has two. Examples of
    which more than a label is true are chosen from all alike."""
    by_label: dict[str, list[Example]] = defaultdict(list)
    for example in examples:
        by_label[example.truth if isinstance(example.truth, str) else ""].append(example)
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
