"""Class folders: the usual way to keep the examples of a classifier, one folder per class."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from train.data.example import DataError, Example
from train.data.notes import first_few, tell_left_out
from train.data.splits import Splits, split_folders

LITTER = {"thumbs.db", "desktop.ini"}  # that systems put into folders; nobody misses them
MAX_KINDS = 12  # suffixes in a message


def has_class_folders(root: Path, suffixes: set[str]) -> bool:
    """Whether `class_folders` can read `root`: it has `train/`, or two folders that hold files with these suffixes."""
    if "train" in split_folders(root):
        return True
    if not root.is_dir():
        return False
    return sum(holds_files(folder, suffixes) for folder in folders(root)) > 1


def class_folders(root: Path, suffixes: set[str]) -> Splits:
    """The examples of `root/train/<class>/*`, `root/test/<class>/*` and, if it exists, `root/validation/<class>/*` (or `val`).
    If there is no `root/train/`, those of `root/<class>/*` are all "train". It says what it leaves out.

    Raises:
        DataError: no such folder, no class folders, or one without a file with these suffixes.
    """
    if not root.is_dir():
        what = "a file; unpack it into a folder" if root.is_file() else "no such folder"
        raise DataError(f"{root}: {what}; say where the data lies with DATA=<folder>")
    # A class may be called "train": then it holds files, and no folders.
    found = {name: each for name, each in split_folders(root).items() if folders(each) or not holds_files(each, suffixes)}
    left_out = strays(root, root, suffixes)
    if found and "train" not in found:
        name = next(iter(found.values())).name
        raise DataError(f"{root}: has {name}/ and no train/; put what the model learns into {root / 'train'}/<class>/")
    if not found:
        splits = {"train": list(in_classes(root, root, suffixes, left_out))}
    elif "test" not in found:
        raise DataError(f"{root}: has {found['train'].name}/ and no test/; put some of each class into {root / 'test'}/<class>/")
    else:
        left_out += [f"{folder.name}/" for folder in folders(root) if folder not in found.values()]
        splits = {name: list(in_classes(folder, root, suffixes, left_out)) for name, folder in found.items()}
    tell_left_out(left_out)
    return splits


def in_classes(folder: Path, root: Path, suffixes: set[str], left_out: list[str]) -> Iterator[Example]:
    """The files in each sub-folder, labelled with the sub-folder's name. Hidden files are left out.

    Args:
        root: of the data, for messages.
        left_out: what is left out is added to it.
    """
    classes = folders(folder)
    if len(classes) < 2:
        raise DataError(f"{folder}: {len(classes)} class folders; at least two are expected, such as {folder}/cat/1.jpg")
    if not any(holds_files(each, suffixes) for each in classes) and all(folders(each) for each in classes):
        raise DataError(
            f"{folder}: {first_few([f'{each.name}/' for each in classes])} hold folders, and no file that this model reads: "
            f"classes or splits? A class holds its files, such as {folder}/cat/1.jpg; splits are called train/, test/ and "
            "validation/"
        )
    if folder != root:
        left_out += strays(folder, root, suffixes)
    for each in classes:
        files = sorted(file for file in each.rglob("*") if not file.is_dir() and not is_hidden(file, each))
        examples = [file for file in files if file.suffix.lower() in suffixes]
        others = counted(file for file in files if file not in {*examples})
        if not examples:
            kinds = " ".join(sorted(suffixes)[:MAX_KINDS])
            has = f"; it has {first_few(others)}" if others else ""
            raise DataError(f"{each}: no file of a kind that this model reads ({kinds} ...){has}; remove the folder or fill it")
        links = sorted(entry for entry in each.rglob("*") if entry.is_symlink() and entry.is_dir() and not is_hidden(entry, each))
        left_out += [f"what the link {entry.relative_to(root)} leads to" for entry in links]
        left_out += [f"{other} in {each.relative_to(root)}" for other in others]
        yield from (Example(file, each.name, str(file), file.suffix.lower()) for file in examples)


def strays(folder: Path, root: Path, suffixes: set[str]) -> list[str]:
    """The files that lie next to the folders: `3 .jpg next to the folders of train`."""
    files = [file for file in sorted(folder.iterdir()) if file.suffix.lower() in suffixes and not is_hidden(file, folder)]
    return [f"{other} next to the folders of {folder.relative_to(root.parent)}" for other in counted(files)]


def counted(files: Iterator[Path] | list[Path]) -> list[str]:
    """`9 .heic` for each suffix, without what systems leave in folders."""
    counts = Counter(file.suffix.lower() or "without a suffix" for file in files if file.name.lower() not in LITTER)
    return [f"{count:,} {suffix}" for suffix, count in sorted(counts.items())]


def holds_files(folder: Path, suffixes: set[str]) -> bool:
    """Whether files with these suffixes lie in the folder itself."""
    return any(file.suffix.lower() in suffixes and not is_hidden(file, folder) for file in folder.iterdir())


def folders(root: Path) -> list[Path]:
    return sorted(entry for entry in root.iterdir() if entry.is_dir() and not is_hidden(entry, root) and entry.name != "__MACOSX")


def is_hidden(file: Path, root: Path) -> bool:
    """Whether the name of the file, or of a folder between it and `root`, begins with a dot."""
    return any(part.startswith(".") for part in file.relative_to(root).parts)
