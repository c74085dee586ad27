"""Class folders: the usual way to keep the examples of a classifier, one folder per class."""

from collections.abc import Iterator
from pathlib import Path

from train.data.example import DataError, Example
from train.data.splits import Splits, split_folders


def has_class_folders(root: Path, suffixes: set[str]) -> bool:
    """Whether `class_folders` can read `root`: it has `train/`, or two folders that hold files with these suffixes."""
    if "train" in split_folders(root):
        return True
    if not root.is_dir():
        return False
    return sum(any(file.suffix.lower() in suffixes for file in folder.iterdir()) for folder in folders(root)) > 1


def class_folders(root: Path, suffixes: set[str]) -> Splits:
    """The examples of `root/train/<class>/*`, `root/test/<class>/*` and, if it exists, `root/validation/<class>/*` (or `val`).
    If there is no `root/train/`, those of `root/<class>/*` are all "train".

    Raises:
        DataError: no such folder, no class folders, or one without a file with these suffixes.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; say where the data lies with DATA=<folder>")
    found = split_folders(root)
    if "train" not in found:
        return {"train": list(in_classes(root, suffixes))}
    if "test" not in found:
        raise DataError(f"{root}: has {found['train'].name}/ and no test/; put some of each class into {root / 'test'}/<class>/")
    return {name: list(in_classes(folder, suffixes)) for name, folder in found.items()}


def in_classes(root: Path, suffixes: set[str]) -> Iterator[Example]:
    """The files in each sub-folder, labelled with the folder's name. Hidden files are left out."""
    classes = folders(root)
    if len(classes) < 2:
        raise DataError(f"{root}: {len(classes)} class folders; at least two are expected, such as {root}/cat/1.jpg")
    for folder in classes:
        files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in suffixes and not is_hidden(file, folder))
        if not files:
            kinds = " ".join(sorted(suffixes)[:12])
            raise DataError(f"{folder}: no file of a kind that this model reads ({kinds} ...); remove the folder or fill it")
        yield from (Example(file, folder.name, str(file), file.suffix.lower()) for file in files)


def folders(root: Path) -> list[Path]:
    return sorted(entry for entry in root.iterdir() if entry.is_dir() and not is_hidden(entry, root))


def is_hidden(file: Path, root: Path) -> bool:
    """Whether the name of the file, or of a folder between it and `root`, begins with a dot."""
    return any(part.startswith(".") for part in file.relative_to(root).parts)
