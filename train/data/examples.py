"""The base of every data set: it splits the examples, decodes each one before the first epoch, and makes the batches.

A subclass says which examples there are. The model's transform decodes and collates them as in serving; the task's `targets`
turn truths into what the loss takes.
"""

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning import LightningDataModule
from rich.progress import track
from torch import nn
from torch.utils.data import DataLoader

from model_defs.build import did_you_mean
from model_defs.errors import InputError
from model_defs.transform import Transform
from train.data.csv_rows import WRITTEN_EMPTY
from train.data.dataset import SampleDataset, collate
from train.data.example import DataError, Example
from train.data.notes import first_few, tell
from train.data.sampler import ResumableBatchSampler, ResumableLoader
from train.data.splits import TEST_SHARE, Splits, hold_out, natural_order

IMBALANCE = 20  # times more examples of one label than of another: worth a line
VALIDATION_SHARE = 0.1
DECODERS = 4  # threads; Pillow and libsndfile release Python's lock


class Examples(LightningDataModule):
    """The base of every data set. A subclass overrides `read_root`, which reads the user's data, or `built_in`, or both.

    Args:
        root: where the user's data lies: `make train DATA=<folder>`. Without it, the set's own data is used.
        batch_size: examples per batch.
        num_workers: processes that decode; useful where `cache` is off.
        validation: the share of the training split that chooses the best epoch, if the data has no validation split.
        classes: only the examples of these labels; all by default.
        cache: keep decoded samples in memory, so that each is decoded once.
        seed: of every random split.
    """

    default_root: str | None = None  # of a set whose own data lies in a folder, or is downloaded into it
    fewest_labels = 2  # that training needs
    cuts_validation = False  # whether `read_splits` makes the validation split itself, of that share
    built_in_options: tuple[str, ...] = ()  # that only the data that the set makes itself have

    def __init__(
        self,
        root: str | None = None,
        batch_size: int = 64,
        num_workers: int = 0,
        validation: float = VALIDATION_SHARE,
        classes: list[str] | None = None,
        cache: bool = True,
        seed: int = 0,
    ):
        super().__init__()
        if root == "":
            raise DataError("root is empty; give a folder, or leave it out")
        self.given_root = root
        self.root = Path(root) if root else self.default_root and Path(self.default_root)
        self.batch_size, self.num_workers = batch_size, num_workers
        self.validation, self.classes, self.cache, self.seed = validation, classes, cache, seed
        self.splits: Splits = {}
        self.samples: dict[str, list] = {}  # decoded, by split
        self.position = {"epoch": 0, "batches": 0}  # where training begins or resumes

    def read_splits(self) -> Splits:
        """The examples of "train" and, if the data has these splits, of "validation" and "test".

        Raises:
            DataError: nothing is there, or something cannot be read.
        """
        return self.built_in() if self.root is None else self.read_root()

    def read_root(self) -> Splits:
        """The examples that lie in `self.root`; for the error see `read_splits`."""
        raise NotImplementedError

    def built_in(self) -> Splits:
        """The examples of a set that needs no folder, because the project or a package makes them."""
        raise DataError(f"{type(self).__name__} has no data of its own; say where yours lies with DATA=<folder>")

    def prepare_data(self) -> None:
        """Lightning calls this in one process per machine while the others wait, so that only one downloads."""
        self.setup()

    def setup(self, stage: str | None = None) -> None:
        """Read the examples and split them.

        Raises:
            DataError: as `read_splits`; or a split is empty, or labels are missing.
        """
        if self.splits:
            return
        if not 0 < self.validation < 1:
            raise DataError(f"validation={self.validation} is not a share of the training split: give more than 0, less than 1")
        splits = hold_out(self.read_splits(), "test", TEST_SHARE, self.seed)
        splits = self.of_classes(splits)
        if "validation" in splits and not self.cuts_validation and self.validation != VALIDATION_SHARE:
            tell(f"validation={self.validation} is not used: the data has a validation split of its own")
        splits = hold_out(splits, "validation", self.validation, self.seed)
        self.labels = self.checked_labels(splits)
        self.splits = splits

    def of_classes(self, splits: Splits) -> Splits:
        """Only the examples whose labels are all in `classes`.

        Raises:
            DataError: no example has one of the classes.
        """
        if not self.classes:
            return splits
        wanted = {*self.classes}
        known = {label for found in splits.values() for one in found for label in self.labels_of(one.truth)}
        for label in sorted(wanted - known):
            raise DataError(f"classes: no example is {label!r}{did_you_mean(label, known)}")
        return {name: [one for one in found if self.labels_of(one.truth) <= wanted] for name, found in splits.items()}

    def checked_labels(self, splits: Splits) -> list[str]:
        """The labels of the training split, in natural order: "2" before "10".

        Raises:
            DataError: a split is empty, a label is in no training example, or there are too few labels.
        """
        where = self.root or type(self).__name__
        labels = sorted({label for one in splits["train"] for label in self.labels_of(one.truth)}, key=natural_order)
        for name, examples in splits.items():
            if not examples:
                raise DataError(f"{where}: the {name} split has no examples")
            for example in examples:
                for label in self.labels_of(example.truth) - {*labels}:
                    raise DataError(f"{example.source}: the label {label!r} is in no training example")
            if labels and not any(self.labels_of(example.truth) for example in examples):
                raise DataError(f"{where}: the {name} split has no labelled example, so nothing can be measured there; add some")
        if unknown := [label for label in labels if label.lower() in WRITTEN_EMPTY]:
            tell(f"the label {unknown[0]!r} is learned like any other; if it stands for an unknown one, remove its examples")
        tell_imbalance(example.truth for example in splits["train"])
        if len(labels) < self.fewest_labels:
            found = ", ".join(labels) or "without a label"
            raise DataError(f"{where}: every example is {found}; labels expected: {self.fewest_labels} or more")
        return labels

    def labels_of(self, truth: Any) -> set[str]:
        """The labels in a truth; override it where a truth is not just a label."""
        return {truth}

    def fit(self, transform: Transform) -> None:
        """Let the transform learn what it needs from the training split, such as a vocabulary. Most transforms need nothing."""

    def init_weights(self, network: nn.Module, transform: Transform) -> None:
        """Set the initial weights that come with the data, such as word vectors. Most data has none."""

    def decode(self, transform: Transform) -> None:
        """Decode every example before the first epoch, and keep the samples if `cache` is on.

        Raises:
            DataError: some cannot be decoded; the message lists them all.
        """
        wrong: list[str] = []

        def decoded(example: Example) -> Any:
            try:
                return transform(example.read())
            except (InputError, OSError) as error:
                wrong.append(f"{example.source}: {str(error).replace('; send ', '; expected ')}")

        for name, examples in self.splits.items():
            with ThreadPoolExecutor(DECODERS) as threads:
                samples = threads.map(decoded, examples)
                shown = track(samples, f"reading {name}", len(examples), transient=True, disable=not sys.stdout.isatty())
                self.samples[name] = [sample if self.cache else None for sample in shown]
        if wrong:
            advice = self.advice(wrong) or "mend or remove them"
            raise DataError("\n  ".join([f"{len(wrong):,} examples cannot be read; {advice}:", *sorted(wrong)]))

    def advice(self, wrong: list[str]) -> str | None:
        """What to do about examples that cannot be read, if there is something better than to mend or remove them."""

    def counts(self) -> dict[str, int]:
        """The number of examples in each split."""
        return {name: len(examples) for name, examples in self.splits.items()}

    def fingerprint(self) -> str:
        """SHA-256 of every example's split, truth and bytes. Order and file names do not change it."""
        entries = sorted(
            f"{name} {as_text(example.truth)} {hashlib.sha256(example.read()).hexdigest()}"
            for name, examples in self.splits.items()
            for example in examples
        )
        return hashlib.sha256("\n".join(entries).encode()).hexdigest()

    def train_dataloader(self) -> DataLoader:
        self.train_loader = self.loader("train", self.trainer.lightning_module.augment, self.seed, generator=torch.Generator())
        self.train_loader.load_state_dict(self.position)
        return self.train_loader

    def state_dict(self) -> dict[str, int]:
        """The position of the training in its examples; it goes into Lightning's checkpoint."""
        return self.train_loader.state_dict()

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Keep the position for the loader. Lightning calls this before the loader exists."""
        self.position = state

    def val_dataloader(self) -> DataLoader:
        return self.loader("validation", None)

    def test_dataloader(self) -> DataLoader:
        return self.loader("test", None)

    def loader(self, name: str, augment: Callable | None, seed: int | None = None, **options) -> DataLoader:
        """Args:
        seed: of the order; without it the order is that of the examples.
        """
        task = self.trainer.lightning_module
        targets = task.targets(self.labels, augment)
        samples = SampleDataset(self.splits[name], self.samples[name] if self.cache else None, task.transform, targets)
        try:
            batches = ResumableBatchSampler(
                len(samples), self.batch_size, seed, self.trainer.global_rank, self.trainer.world_size
            )
        except ValueError as error:
            raise DataError(f"the {name} split has {error}; train with fewer, or give it more") from None
        collate_fn = partial(collate, task.transform, targets)
        return ResumableLoader(samples, batch_sampler=batches, num_workers=self.num_workers, collate_fn=collate_fn, **options)


def tell_imbalance(truths: Iterable[Any]) -> None:
    """Say so in one line where some labels have few training examples and others many."""
    counts = Counter(truth for truth in truths if isinstance(truth, str))
    rare = [(label, count) for label, count in reversed(counts.most_common()) if count * IMBALANCE <= max(counts.values())]
    if rare:
        label, most = counts.most_common(1)[0]
        few = first_few([f"{name} {count:,}" for name, count in rare])
        tell(f"few training examples: {few}; {label} has {most:,}: answers lean towards it")


def as_text(truth: Any) -> str:
    """A truth on one line; a label is its own text."""
    return truth if isinstance(truth, str) else json.dumps(truth, sort_keys=True)
