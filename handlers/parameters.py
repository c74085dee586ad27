"""Parse a request's parameters, from JSON, from a form's fields or from the URL, to a handler's `Parameters`."""

import json
from itertools import chain
from typing import Any

import msgspec

from model_defs.build import did_you_mean
from model_defs.errors import Unreadable, WrongValue
from model_defs.json_input import described
from model_defs.json_keys import without_duplicates

INSTEAD = {"return_all_scores": "send top_k: null, which gives all labels"}  # what older pipelines of transformers take


def form_parameters(fields: dict[str, Any], options: Any, parameters: type[msgspec.Struct]) -> msgspec.Struct:
    """A form's other fields, or the URL's, -> parameters. Each field is one parameter, or the field
    `parameters` has all of them as JSON.

    Args:
        options: the `parameters` of a JSON body that came along.

    Raises:
        Unreadable: they are no text, or no JSON.
        WrongValue: an unknown parameter, a wrong value, or two different values of one parameter.
    """
    try:
        texts = {name: value.decode() if isinstance(value, bytes | bytearray) else value for name, value in fields.items()}
        values = texts.pop("parameters", {})  # the engine has parsed it if that part of the form is JSON
        values = json.loads(values, object_pairs_hook=without_duplicates) if isinstance(values, str) else values
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"the form's parameters cannot be read ({error}); each is UTF-8, and 'parameters' is JSON") from None
    for given in (options, values):
        if not isinstance(given, dict):
            return convert(given, parameters, strict=False)
    found: dict[str, Any] = {}
    for name, value in chain(options.items(), values.items(), texts.items()):
        if as_text(found.setdefault(name, value)) != as_text(value):
            raise WrongValue(f"the request has {name!r} more than once, with different values; send each parameter once")
    return convert(found, parameters, strict=False)


def as_text(value: Any) -> str:
    """A parameter as a form or a URL has it."""
    return value if isinstance(value, str) else json.dumps(value)


def convert(values: Any, parameters: type[msgspec.Struct], strict: bool) -> msgspec.Struct:
    """Check the parameters. With `strict=False`, a form's "3" is the number 3."""
    if not isinstance(values, dict):
        raise WrongValue(f"'parameters' is {described(values)}; send an object with {', '.join(parameters.__struct_fields__)}")
    for name in values:
        if name not in parameters.__struct_fields__:
            instead = INSTEAD.get(name) if "top_k" in parameters.__struct_fields__ else None
            hint = f"; {instead}" if instead else did_you_mean(name, parameters.__struct_fields__)
            raise WrongValue(f"no parameter {name!r}{hint}")
    try:
        return msgspec.convert(values, parameters, strict=strict)
    except msgspec.ValidationError as error:
        raise WrongValue(f"parameters: {error}{choices(error, parameters)}") from None
    except UnicodeEncodeError:
        raise WrongValue("parameters: half of a surrogate pair in a text; send whole characters") from None


def choices(error: msgspec.ValidationError, parameters: type[msgspec.Struct]) -> str:
    """The allowed values of the parameter that the error names, if they are a list."""
    name = str(error).rpartition("`$.")[2].rstrip("`")
    properties = msgspec.json.schema(parameters)["$defs"][parameters.__name__]["properties"]
    schema = properties.get(name, {})
    values = [value for one in (schema, *schema.get("anyOf", [])) for value in one.get("enum", [])]
    return f"; it is one of {', '.join(map(repr, values))}" if values else ""
