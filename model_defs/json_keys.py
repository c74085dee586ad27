"""A key that a JSON object has twice is refused: Python's reader takes the last one."""

from collections import Counter
from typing import Any

from model_defs.errors import WrongValue


def without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object's pairs -> the object: the `object_pairs_hook` of Python's json.

    Raises:
        WrongValue: it has a key twice.
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise WrongValue(f"the JSON has the key {twice!r} twice in one object; send it once")
    return found
