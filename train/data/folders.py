"""Folders that are named for what lies in them: how most people keep the examples of a classifier.

Knows nothing of a modality: whoever asks says which suffixes it reads.
"""

from collections.abc import Iterator
from pathlib import Path

from train.data.examples import DataError, Example, split


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
