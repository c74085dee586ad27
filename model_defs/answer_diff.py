"""Whether two answers are the same but for the noise of the arithmetic: one that was given, and the one that training wrote down.

An answer is what JSON holds, in the wire's shapes. Knows no task, and needs neither torch nor anything of ours, so that
whoever asks over HTTP compares with the very function that the worker and the packaging use.
"""

import base64
import io
import math
from typing import Any

import numpy as np
from PIL import Image

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()[:10]  # how a PNG in base64 begins


def difference(given: Any, expected: Any, tolerance: float, at: str = "the answer") -> str | None:
    """What sets `given` apart from `expected`, in words; None where they agree.

    Numbers agree within `tolerance`, absolute or relative; pictures (PNG in base64) if no larger share of their pixels differs;
    lists of scored entries in whatever order their scores allow. All else must be equal.

    Args:
        at: where the two stand, for the words: `[0].box.xmin`.
    """
    if is_number(given) and is_number(expected):
        agrees = math.isclose(given, expected, rel_tol=tolerance, abs_tol=tolerance)
    elif type(given) is not type(expected):
        agrees = False
    elif isinstance(expected, dict):
        if given.keys() != expected.keys():
            return f"{at} has {', '.join(given)}; training says {', '.join(expected)}"
        parts = (difference(given[key], value, tolerance, f"{at}.{key}") for key, value in expected.items())
        return next(filter(None, parts), None)
    elif isinstance(expected, list):
        return (
            of_ranked(given, expected, tolerance, at) if is_ranked(given + expected) else of_list(given, expected, tolerance, at)
        )
    elif isinstance(expected, str) and given.startswith(PNG) and expected.startswith(PNG):
        share = differing_pixels(given, expected)
        return None if share <= tolerance else f"{at} differs from training's in {share:.2%} of its pixels"
    else:
        agrees = given == expected
    return None if agrees else f"{at} is {shown(given)}; training says {shown(expected)}"


def of_list(given: list, expected: list, tolerance: float, at: str) -> str | None:
    if len(given) != len(expected):
        return f"{at} has {len(given)} entries; training says {len(expected)}"
    pairs = enumerate(zip(given, expected, strict=True))
    return next(filter(None, (difference(one, other, tolerance, f"{at}[{place}]") for place, (one, other) in pairs)), None)


def of_ranked(given: list[dict], expected: list[dict], tolerance: float, at: str) -> str | None:
    """Each expected entry needs one of its own in `given`: two entries of nearly one score may have changed places."""
    if len(given) != len(expected):
        return f"{at} has {len(given)} entries; training says {len(expected)}"
    left = list(range(len(given)))
    for place, entry in enumerate(expected):
        match = next((other for other in left if difference(given[other], entry, tolerance) is None), None)
        if match is not None:
            left.remove(match)
        elif place == 0 or not is_cut_off(entry, given, tolerance):
            return difference(given[place], entry, tolerance, f"{at}[{place}]") or f"{at} has {shown(entry)} once too few"
    return None


def is_cut_off(entry: dict, given: list[dict], tolerance: float) -> bool:
    """Whether the best few labels may lack this one, since another of the same score stands in the last place."""
    is_bare = entry.keys() == {"label", "score"}
    is_missing = all(other.get("label") != entry.get("label") for other in given)
    return is_bare and is_missing and difference(given[-1]["score"], entry["score"], tolerance) is None


def is_ranked(entries: list) -> bool:
    return bool(entries) and all(isinstance(entry, dict) and "score" in entry for entry in entries)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def differing_pixels(one: str, other: str) -> float:
    """The share of pixels that are not the same; 1 where the sizes differ."""
    first, second = pixels(one), pixels(other)
    return float((first != second).mean()) if first.shape == second.shape else 1.0


def pixels(picture: str) -> np.ndarray:
    """A PNG in base64 -> (height, width) uint8, grey."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(picture))).convert("L"))


def shown(value: Any) -> str:
    text = f"{value:.4f}" if isinstance(value, float) else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
