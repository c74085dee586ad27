"""The labels of an imported model, in the order of its outputs. They are never sorted."""

import json
from pathlib import Path
from typing import Any

from importers.found import ImportRefused, Question
from model_defs.errors import WrongValue
from model_defs.inert_pickle import Inert
from model_defs.json_keys import without_duplicates

FILES = ("classes.txt", "labels.txt", "index_to_name.json")  # looked for next to FROM
KEYS = ("classes", "class_names", "labels", "id2label", "idx_to_class", "label2id", "class_to_idx")  # of a checkpoint
MAX_BYTES = 4 << 20
FEW = 6  # labels in a line for people
WAY_OUT = "LABELS=classes.txt, one label per line in the order of the outputs"


def find(question: Question, count: int, extras: dict[str, Any], torchvisions: list[str] | None = None) -> tuple[list[str], str]:
    """The labels, and where they come from in words.

    Args:
        count: of the network's outputs.
        extras: what lies next to the tensors in a checkpoint, or a config.
        torchvisions: the labels of torchvision's own weights, for LABELS=torchvision.

    Raises:
        ImportRefused: no labels, another number than of outputs, two that are equal, or an unreadable file.
    """
    labels, source = candidates(question, extras, torchvisions, count)
    if len(labels) != count:
        raise ImportRefused(f"{source}: {len(labels)} labels for {count} outputs; give {WAY_OUT}")
    if "" in labels:
        raise ImportRefused(f"{source}: the label of output {labels.index('')} is empty; give each output a name of its own")
    if twice := next((label for index, label in enumerate(labels) if label in labels[:index]), None):
        raise ImportRefused(f"{source}: the label {twice!r} is there twice; give each output a name of its own")
    return labels, source


def candidates(question: Question, extras: dict, torchvisions: list[str] | None, count: int) -> tuple[list[str], str]:
    if question.labels == "torchvision":
        if not torchvisions:
            raise ImportRefused(f"LABELS=torchvision: torchvision has no labels for this network; give {WAY_OUT}")
        return torchvisions, "torchvision's own list"
    if question.labels:
        return read(Path(question.labels)), question.labels
    for key in KEYS:
        if labels := as_labels(extras.get(key)):
            return labels, f"{question.source}, its {key!r}"
    folder = question.source if question.source.is_dir() else question.source.parent
    there = [folder / name for name in FILES if (folder / name).is_file()]
    if len(there) > 1:
        raise ImportRefused(f"{' and '.join(map(str, there))} are both there; say which: LABELS={there[0]}")
    if there:
        return read(there[0]), str(there[0])
    if question.first_number is not None:
        first = question.first_number
        return [str(number) for number in range(first, first + count)], "the numbers, as the old archive answers them"
    own = "; LABELS=torchvision takes torchvision's own list" if torchvisions and len(torchvisions) == count else ""
    raise ImportRefused(f"{count} outputs and no names for them; give {WAY_OUT}{own}")


def read(file: Path) -> list[str]:
    """The labels of a text file or of a JSON file; for the errors see `find`."""
    try:
        if file.stat().st_size > MAX_BYTES:
            raise ImportRefused(f"{file}: more than {MAX_BYTES >> 20} MiB is no list of labels; give {WAY_OUT}")
        text = file.read_text(encoding="utf-8-sig")
        if file.suffix != ".json":
            return [line.strip() for line in text.splitlines() if line.strip()]
        given = json.loads(text, object_pairs_hook=without_duplicates)
    except (OSError, ValueError, RecursionError, WrongValue) as error:
        raise ImportRefused(f"{file}: no labels to be read there ({str(error)[:100]}); give {WAY_OUT}") from None
    labels = as_labels(given.get("id2label", given) if isinstance(given, dict) else given)
    if not labels:
        raise ImportRefused(f'{file}: neither ["cat", ...] nor {{"0": "cat", ...}}; give {WAY_OUT}')
    return labels


def read_numbered(file: Path) -> dict[int, str]:
    """An index_to_name.json -> the labels by their numbers, with gaps where it has some.

    Raises:
        ImportRefused: another form.
    """
    try:
        if file.stat().st_size > MAX_BYTES:
            raise ValueError("too long")
        given = json.loads(file.read_text(encoding="utf-8-sig"), object_pairs_hook=without_duplicates)
        named = {int(number): name[-1] if isinstance(name, list) and name else name for number, name in given.items()}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError, WrongValue) as error:
        raise ImportRefused(f"{file.name}: no labels by number ({str(error)[:100]}); give {WAY_OUT}") from None
    if not all(isinstance(name, str) for name in named.values()):
        raise ImportRefused(f"{file.name}: no labels by number; give {WAY_OUT}")
    return named


def as_labels(given: Any) -> list[str] | None:
    """A list of names, {number: name} or {name: number} -> the names in the order of the numbers; None if it is another thing."""
    if isinstance(given, Inert):
        given = given.items
    if isinstance(given, list | tuple) and given and all(isinstance(name, str) for name in given):
        return list(given)
    if not isinstance(given, dict) or not given:
        return None
    by_name = all(isinstance(number, int) for number in given.values())
    try:
        numbered = {int(number): name for number, name in ((pair[::-1] if by_name else pair) for pair in given.items())}
    except (TypeError, ValueError):
        return None
    if len(numbered) < len(given):  # two names have one number
        return None
    # TorchServe's index_to_name.json may have ["n01440764", "tench"].
    names: list[Any] = [numbered.get(index) for index in range(len(numbered))]
    names = [name[-1] if isinstance(name, list) and name else name for name in names]
    return names if all(isinstance(name, str) for name in names) else None


def numbered(labels: list[str], unused: str, first: int = 0) -> list[str]:
    """The labels, with its number behind each that stands for a number that is not used, if there are several."""
    is_several = labels.count(unused) > 1
    return [f"{name} {number}" if is_several and name == unused else name for number, name in enumerate(labels, first)]


def line(labels: list[str], source: str) -> str:
    """The labels in words, for people."""
    return f"labels: {', '.join(labels[:FEW])}{' ...' if len(labels) > FEW else ''}   ({source}, in its order)"
