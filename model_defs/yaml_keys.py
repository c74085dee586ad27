"""The keys of a YAML file, with the line of each. A key that stands there twice is refused: YAML's readers take the last one."""

import contextlib
from pathlib import Path

import yaml

from model_defs.errors import BundleError


class RepeatedKey(BundleError):
    """A key stands in a mapping twice; the message names both lines."""


def check_keys(file: Path) -> None:
    """
    Raises:
        RepeatedKey: a key of the file stands in a mapping twice. That a file is no YAML, its reader says.
    """
    with contextlib.suppress(yaml.YAMLError, ValueError):  # ValueError: not UTF-8
        lines_of(yaml.compose(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader), file)


def lines_of(tree: yaml.Node | None, file: Path, at: str = "$") -> dict[str, int]:
    """The line of each key by its path as msgspec writes it, `$.handler.precision`; of an entry of a list, `$.deviceIds[0]`.

    Args:
        tree: as yaml.compose makes it.
        at: the path of the tree itself.

    Raises:
        RepeatedKey: a key stands in a mapping twice.
    """
    lines = {} if tree is None else {at: tree.start_mark.line + 1}
    if isinstance(tree, yaml.SequenceNode):
        for index, value in enumerate(tree.value):
            lines |= lines_of(value, file, f"{at}[{index}]")
    if isinstance(tree, yaml.MappingNode):
        for key, value in tree.value:
            name, line = f"{at}.{key.value}", key.start_mark.line + 1
            if name in lines:
                raise RepeatedKey(f"{file}:{line}: {key.value!r} stands on line {lines[name]} already")
            lines |= lines_of(value, file, name) | {name: line}
    return lines
