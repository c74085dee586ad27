"""Inputs that are JSON: a row of a table, a series of numbers, a graph, a picture with a text.

On disk such an input is what is posted: `{"inputs": ..., "parameters": {...}}`, in a `.json` file. Here stand the form of that
body, the transform that begins with it, and how a value of it is checked. Knows nothing of HTTP, nor of what the values mean.
"""

import base64
import binascii
import json
import math
from typing import Any

from model_defs.build import did_you_mean
from model_defs.errors import Unreadable, WrongValue
from model_defs.transform import Transform

SUFFIX = ".json"
KEYS = ("inputs", "parameters")
WHITESPACE = str.maketrans("", "", " \t\r\n")


class JsonTransform(Transform):
    """The base of transforms of JSON: a subclass says what `read` makes of the value of `inputs`."""

    def __call__(self, payload: Any) -> Any:
        """
        Args:
            payload: the value; or a whole body's bytes, as the artifact keeps them.

        Raises:
            InputError: it cannot be used; the message is for whoever sent it.
        """
        return self.read(inputs_of(parsed(payload)) if isinstance(payload, bytes | bytearray) else payload)

    def read(self, value: Any) -> Any:
        """One input's value -> sample; the errors of `__call__`."""
        raise NotImplementedError


def body(inputs: Any) -> bytes:
    """What is posted, and lies on disk, for such inputs."""
    return json.dumps({"inputs": inputs}, ensure_ascii=False, allow_nan=False).encode()


def parsed(given: Any) -> Any:
    """JSON's bytes, or its text -> the value.

    Raises:
        Unreadable: it does not parse.
    """
    try:
        return json.loads(given)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f'the body is not JSON ({error}); send {{"inputs": ..., "parameters": {{...}}}}') from None


def inputs_of(given: Any) -> Any:
    """A body's value -> that of its `inputs`.

    Raises:
        WrongValue: it has none, or other keys than a body's.
    """
    extra = set(given) - set(KEYS) if isinstance(given, dict) else ()
    if extra:
        raise WrongValue(f"a JSON body has no key {min(extra)!r}{did_you_mean(min(extra), KEYS)}")
    if not isinstance(given, dict) or "inputs" not in given:
        raise WrongValue(f'a JSON body is {{"inputs": ..., "parameters": {{...}}}}; this one is {shape(given)}')
    return given["inputs"]


def from_base64(text: str, name: str = "'inputs'") -> bytes:
    """The bytes; a `data:` URL's head is skipped.

    Raises:
        Unreadable: it is not base64.
    """
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode(text.translate(WHITESPACE), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Unreadable(f"{name} is not base64 ({error}); send the file's bytes in base64") from None


def number(value: Any, name: str) -> float:
    """A finite number.

    Args:
        name: of the value, for the message.

    Raises:
        WrongValue: it is something else: text, a boolean, NaN, more than a float can hold.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise WrongValue(f"{name} is {shape(value)}; send a number")
    try:
        as_float = float(value)
    except OverflowError:  # JSON's whole numbers know no end
        as_float = math.inf
    if not math.isfinite(as_float):
        raise WrongValue(f"{name} is {'not a number' if math.isnan(as_float) else 'infinite'}; send a finite number")
    return as_float


def shape(value: Any) -> str:
    """What a value is, in a caller's words, without the value."""
    if isinstance(value, dict):
        return f"an object with the keys {', '.join(sorted(map(repr, value))[:5])}" if value else "an empty object"
    names = {list: "a list", str: "text", bool: "a boolean", int: "a number", float: "a number", type(None): "null"}
    return names.get(type(value), type(value).__name__)
