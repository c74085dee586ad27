"""Compare a served answer with the one recorded in training, allowing for floating-point noise.

An answer is what JSON holds, in the wire's shapes. This module imports no torch, so that the command line can compare answers
over HTTP with the same function as the worker and `make archive`.
"""

import base64
import io
import math
from typing import Any

import numpy as np
from PIL import Image

PNG_HEAD = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()[:10]  # the first characters of every PNG in base64
SHOWN_CHARS = 80  # of a value at most, in a message


def difference(given: Any, expected: Any, tolerance: float, path: str = "the answer") -> str | None:
    """The first difference between two answers, in words; None if they agree.

    - Numbers agree within the absolute or relative tolerance.
    - PNG masks in base64 agree if the share of different pixels is within the tolerance.
    - Lists of entries with scores agree in any order that these scores allow.
    - Everything else must be equal.

    Args:
        path: where the two values are in the answer, for the message: `the answer[0].box.xmin`.
    """
    if is_number(given) and is_number(expected):
        agrees = math.isclose(given, expected, rel_tol=tolerance, abs_tol=tolerance)
    elif type(given) is not type(expected):
        agrees = False
    elif isinstance(expected, dict):
        return dict_difference(given, expected, tolerance, path)
    elif isinstance(expected, list):
        return list_difference(given, expected, tolerance, path)
    elif isinstance(expected, str) and given.startswith(PNG_HEAD) and expected.startswith(PNG_HEAD):
        share = differing_pixels(given, expected)
        return None if share <= tolerance else f"{path} differs from training's in {share:.2%} of its pixels"
    else:
        agrees = given == expected
    return None if agrees else f"{path} is {shown(given)}; training says {shown(expected)}"


def dict_difference(given: dict, expected: dict, tolerance: float, path: str) -> str | None:
    if given.keys() != expected.keys():
        return f"{path} has {', '.join(given)}; training says {', '.join(expected)}"
    found = (difference(given[key], value, tolerance, f"{path}.{key}") for key, value in expected.items())
    return next(filter(None, found), None)


def list_difference(given: list, expected: list, tolerance: float, path: str) -> str | None:
    if len(given) != len(expected):
        return f"{path} has {len(given)} entries; training says {len(expected)}"
    if is_ranked(given + expected):
        return ranked_difference(given, expected, tolerance, path)
    pairs = enumerate(zip(given, expected, strict=True))
    found = (difference(one, other, tolerance, f"{path}[{index}]") for index, (one, other) in pairs)
    return next(filter(None, found), None)


def ranked_difference(given: list[dict], expected: list[dict], tolerance: float, path: str) -> str | None:
    """Match each expected entry with a given one of its own. Two entries with nearly equal scores may have swapped places."""
    unmatched = list(range(len(given)))
    for index, entry in enumerate(expected):
        match = next((other for other in unmatched if difference(given[other], entry, tolerance) is None), None)
        if match is not None:
            unmatched.remove(match)
        elif index == 0 or not is_cut_off(entry, given, tolerance):
            return difference(given[index], entry, tolerance, f"{path}[{index}]") or f"{path} has {shown(entry)} once too few"
    return None


def is_cut_off(entry: dict, given: list[dict], tolerance: float) -> bool:
    """Whether this label may be missing from the best few, because the last of them has the same score."""
    is_bare = entry.keys() == {"label", "score"}
    is_missing = all(other.get("label") != entry.get("label") for other in given)
    return is_bare and is_missing and difference(given[-1]["score"], entry["score"], tolerance) is None


def is_ranked(entries: list) -> bool:
    """Whether every entry has a score. An empty list is not ranked."""
    return bool(entries) and all(isinstance(entry, dict) and "score" in entry for entry in entries)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def differing_pixels(one: str, other: str) -> float:
    """The share of pixels that differ between two PNGs in base64; 1 if their sizes differ."""
    first, second = pixels(one), pixels(other)
    return float((first != second).mean()) if first.shape == second.shape else 1.0


def pixels(png_base64: str) -> np.ndarray:
    """A PNG in base64 -> (height, width) uint8, grey."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(png_base64))).convert("L"))


def shown(value: Any) -> str:
    text = f"{value:.4f}" if isinstance(value, float) else repr(value)
    return text if len(text) <= SHOWN_CHARS else f"{text[: SHOWN_CHARS - 3]}..."
