"""Inputs that are JSON: a row of a table, a series of numbers, a graph, a picture with a text.

On disk, such an input is the body that a caller posts: `{"inputs": ..., "parameters": {...}}` in a `.json` file. This module
has the form of that body, the base of transforms that take it, and checks of single values.
"""

import base64
import binascii
import json
import math
from typing import Any

from model_defs.build import did_you_mean
from model_defs.errors import Unreadable, WrongValue
from model_defs.json_keys import without_duplicates
from model_defs.transform import Transform

SUFFIX = ".json"
KEYS = ("inputs", "parameters", "options")
# Of Hugging Face's older clients. Both ask for what always holds here: a model that answers is loaded, and no answer is cached.
OPTIONS = ("wait_for_model", "use_cache")
WHITESPACE = str.maketrans("", "", " \t\r\n")


class JsonTransform(Transform):
    """The base of transforms of JSON. A subclass writes `to_sample`."""

    def __call__(self, payload: Any) -> Any:
        """
        Args:
            payload: the value of `inputs`, or a whole body's bytes, as the artifact keeps them.

        Raises:
            InputError: the payload cannot be used. The caller gets the message.
        """
        return self.to_sample(inputs_of(parsed(payload)) if isinstance(payload, bytes | bytearray) else payload)

    def to_sample(self, value: Any) -> Any:
        """The value of one input's `inputs` -> sample. Raises the errors of `__call__`."""
        raise NotImplementedError


def body(inputs: Any) -> bytes:
    """The body that a caller posts for these inputs."""
    return json.dumps({"inputs": inputs}, ensure_ascii=False, allow_nan=False).encode()


def parsed(given: Any) -> Any:
    """JSON as bytes or text -> its value.

    Raises:
        Unreadable: it does not parse.
        WrongValue: an object has a key twice. Python would take the last one.
    """
    try:
        if isinstance(given, bytes | bytearray):
            given = given.decode(json.detect_encoding(given), "surrogatepass")
        return DECODE(given)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f'the body is not JSON ({error}); send {{"inputs": ..., "parameters": {{...}}}}') from None


DECODE = json.JSONDecoder(object_pairs_hook=without_duplicates).decode  # json.loads would make a decoder per call


def inputs_of(given: Any) -> Any:
    """A body's value -> the value of its `inputs`.

    Raises:
        WrongValue: it has no `inputs`, or a key that a body does not have.
    """
    extra = set(given) - set(KEYS) if isinstance(given, dict) else ()
    if extra:
        raise WrongValue(f"a JSON body has no key {min(extra)!r}{did_you_mean(min(extra), KEYS)}")
    if not isinstance(given, dict) or "inputs" not in given:
        raise WrongValue(f'a JSON body is {{"inputs": ..., "parameters": {{...}}}}; this one is {described(given)}')
    check_options(given.get("options"))
    return given["inputs"]


def check_options(given: Any) -> None:
    """
    Raises:
        WrongValue: a body's `options` have something that is not of `OPTIONS`.
    """
    if given is None:
        return
    if not isinstance(given, dict):
        raise WrongValue(f"'options' is {described(given)}; leave it out, or send an object with {', '.join(OPTIONS)}")
    for name, value in given.items():
        if name not in OPTIONS:
            raise WrongValue(f"no option {name!r}{did_you_mean(name, OPTIONS)}")
        if not isinstance(value, bool):
            raise WrongValue(f"the option {name!r} is {described(value)}; send true or false")


def from_base64(text: str, name: str = "'inputs'") -> bytes:
    """The bytes that the text encodes. The head of a `data:` URL is skipped.

    Args:
        name: what the message calls the text.

    Raises:
        Unreadable: it is not base64.
    """
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode(text.translate(WHITESPACE), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Unreadable(f"{name} is not base64 ({error}); send the file's bytes in base64") from None


def finite_number(value: Any, name: str) -> float:
    """The value as a float.

    Args:
        name: what the message calls the value.

    Raises:
        WrongValue: it is not a finite number: text, a boolean, NaN, or more than a float can hold.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise WrongValue(f"{name} is {described(value)}; send a number")
    try:
        as_float = float(value)
    except OverflowError:  # an integer in JSON has no upper limit
        as_float = math.inf
    if not math.isfinite(as_float):
        raise WrongValue(f"{name} is {'not a number' if math.isnan(as_float) else 'infinite'}; send a finite number")
    return as_float


def described(value: Any) -> str:
    """The type of a JSON value, in words for the caller: "a list", "an object with the keys 'a'"."""
    if isinstance(value, dict):
        return f"an object with the keys {', '.join(sorted(map(repr, value))[:5])}" if value else "an empty object"
    names = {list: "a list", str: "text", bool: "a boolean", int: "a number", float: "a number", type(None): "null"}
    return names.get(type(value), type(value).__name__)
