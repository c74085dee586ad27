"""Training, validation and test: how their folders and files are called, and how a random part is held out."""

import random
import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from train.data.example import Example

Splits = dict[str, list[Example]]  # the examples of "train", "validation" and "test"

SPELLINGS = {  # split: how its folder or file may be called; the first that exists counts
    "train": ("train", "training"),
    "validation": ("validation", "val", "valid"),
    "test": ("test", "testing"),
}
ENDING = re.compile(r"[ _-]?(set|data|split)$")  # Train_set, test-data
TEST_SHARE = 0.2  # of the examples, where the data has no test split


def split_folders(root: Path, spellings: Mapping[str, tuple[str, ...]] = SPELLINGS) -> Mapping[str, Path]:
    """split -> its folder, for the splits that `root` has. "Train", "TRAIN" and "train_set" are spellings of "train"."""
    entries = [entry for entry in sorted(root.iterdir(), reverse=True) if entry.is_dir()] if root.is_dir() else []
    return split_paths({entry: entry.name for entry in entries}, spellings)


def split_paths(named: Mapping[Path, str], spellings: Mapping[str, tuple[str, ...]]) -> dict[str, Path]:
    """split -> the path with its name. Of several with one spelling the last one counts."""
    paths = {ENDING.sub("", name.lower()): path for path, name in named.items()}
    found = {split: [paths[name] for name in names if name in paths] for split, names in spellings.items()}
    return {split: existing[0] for split, existing in found.items() if existing}


def hold_out(splits: Splits, name: str, share: float, seed: int) -> Splits:
    """The same splits with `share` of "train" moved to the split `name`; unchanged if there is such a split."""
    if name in splits:
        return splits
    train, held_out = split(splits["train"], share, seed)
    return splits | {"train": train, name: held_out}


def split(examples: list[Example], share: float, seed: int) -> tuple[list[Example], list[Example]]:
    """(the rest, the held-out part): a random `share` of each label's examples.

    At least one example per label is held out, and at least one stays. Examples whose truth is more than one label are split
    without regard to labels, those without any (a picture with nothing in it) apart.
    """
    by_label: Splits = defaultdict(list)
    for example in examples:
        by_label[example.truth if isinstance(example.truth, str) else "" if example.truth else "none"].append(example)
    chosen: set[int] = set()
    generator = random.Random(seed)
    for label in sorted(by_label):
        count = min(len(by_label[label]) - 1, max(1, round(share * len(by_label[label]))))
        chosen.update(id(example) for example in generator.sample(by_label[label], count))
    return [one for one in examples if id(one) not in chosen], [one for one in examples if id(one) in chosen]


def natural_order(label: str) -> list:
    """A sort key that puts "2" before "10"."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.findall(r"[0-9]+|[^0-9]+", label)]
