"""Parse requests: from every body form of the wire to one `Request`, and from an exception to an HTTP status.

A body is the raw bytes of a file, UTF-8 text, JSON `{"inputs": ..., "parameters": {...}}`, or a multipart form. An engine hands
over each of them as a `RawRequest`.
"""

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from handlers.batch import Refusal
from handlers.deadline import DeadlineExceeded
from model_defs.build import did_you_mean
from model_defs.errors import InputError, OutputError, Unreadable, WrongKind, WrongValue
from model_defs.json_input import described, from_base64, inputs_of, parsed

PAYLOAD_FIELDS = ("data", "body", "inputs")  # one of them is the input of a request or of a form
JSON, FORM = "application/json", "multipart/form-data"
MEDIA = ("image/", "audio/", "video/", "text/", "font/", "model/")  # media types that say what the bytes are


class Kind(msgspec.Struct, frozen=True):
    """The kind of data that a model takes. Each handler module defines its own.

    Args:
        name: for messages.
        media: the media types that fit, by prefix.
        hint: how to send one.
        is_text: whether it is text rather than a file's bytes.
        is_json: whether it is any JSON value, whatever the media type says.
        parts: keys of a JSON object that a form may have as separate fields.
    """

    name: str
    media: tuple[str, ...]
    hint: str
    is_text: bool = False
    is_json: bool = False
    parts: tuple[str, ...] = ()


class RawRequest(msgspec.Struct):
    """One request as an engine received it.

    Args:
        fields: the form's fields, or the body under "body": bytes, text, or JSON that the engine has parsed.
        content_type: the header; "" if there is none.
        id: for the log, and for the answer to a server error.
        explain: whether the caller wants an explanation instead of a prediction.
        client: the User-Agent header.
    """

    fields: Mapping[str, Any]
    content_type: str = ""
    id: str = ""
    explain: bool = False
    client: str = ""


class Request(msgspec.Struct):
    """One request as a handler sees it.

    Args:
        payload: a file's bytes; text, or its bytes if the engine could not decode them; or a JSON value.
        parameters: of the handler's `Parameters` type.
        explain, client: as in `RawRequest`.
    """

    payload: Any
    parameters: Any
    explain: bool = False
    client: str = ""


def parse_request(raw: RawRequest, accepts: Kind, parameters: type[msgspec.Struct]) -> Request:
    """
    Args:
        accepts: the kind of data that the model takes.
        parameters: the handler's type for parameters.

    Raises:
        Unreadable: JSON or base64 that does not parse, or an empty body.
        WrongKind: a media type that the model does not take, or a form that no engine can parse.
        WrongValue: a JSON body without `inputs`, two inputs in a form, or an unknown or wrong parameter.
    """
    media = raw.content_type.partition(";")[0].strip().lower()
    parts = {name: as_bytes(raw.fields[name]) for name in accepts.parts if name in raw.fields}
    names = [name for name in PAYLOAD_FIELDS if name in raw.fields]
    check_media(raw, media, accepts, has_input=bool(names or parts))
    if len(names) + bool(parts) > 1:
        one, other = [*names, *parts][:2]
        raise WrongValue(f"the form has both {one!r} and {other!r}; send one input a request")
    if not parts and (media == JSON or (accepts.is_json and media != FORM)):
        payload, options = from_json_body(raw.fields[names[0]], media, accepts)
        values = convert(options, parameters, strict=True)
    else:
        payload = parts or from_field(raw.fields[names[0]], media, accepts)
        others = {name: value for name, value in raw.fields.items() if name not in (*PAYLOAD_FIELDS, *accepts.parts)}
        values = form_parameters(others, parameters)
    return Request(payload, values, raw.explain, raw.client)


def check_media(raw: RawRequest, media: str, accepts: Kind, has_input: bool) -> None:
    """For the errors see `parse_request`."""
    if media.startswith("multipart/") and not (media == FORM and "boundary=" in raw.content_type.lower()):
        raise WrongKind(f"{media} without a boundary, or not {FORM}, is not taken apart; send curl's -F data=@file")
    if not has_input:
        raise no_input(raw, media, accepts)
    if media.startswith(MEDIA) and not media.startswith(accepts.media):
        raise WrongKind(f"{media} was sent; this model takes {accepts.name}: {accepts.hint}")


def no_input(raw: RawRequest, media: str, accepts: Kind) -> InputError:
    """The error for a request that has no input."""
    if media == "application/x-www-form-urlencoded":
        return WrongKind(f"a form-encoded body, curl's default for -d, does not reach the model; {accepts.hint}")
    if raw.fields:
        wanted = " and ".join(map(repr, accepts.parts)) or "'data'"
        return WrongValue(f"the form has the fields {', '.join(map(repr, raw.fields))}; put the input into {wanted}")
    return Unreadable(f"the body is empty; {accepts.hint}")


def from_json_body(given: Any, media: str, accepts: Kind) -> tuple[Any, Any]:
    """`{"inputs": ..., "parameters": {...}}`, as huggingface_hub's InferenceClient sends it -> the payload and the parameters."""
    value = json_value(given, media)
    payload, options = inputs_of(value), value.get("parameters")
    if not accepts.is_json:
        if not isinstance(payload, str):
            wanted = "text" if accepts.is_text else "base64 in a string"
            raise WrongValue(f"'inputs' is {described(payload)}; this model takes {accepts.name}, as {wanted}, one a request")
        payload = payload if accepts.is_text else from_base64(payload)
    return payload, {} if options is None else options


def from_field(given: Any, media: str, accepts: Kind) -> Any:
    """A form's field, or a body that is not JSON -> the payload. For the errors see `parse_request`."""
    if accepts.is_json:
        return json_value(given, media)
    if isinstance(given, bytes | bytearray):
        return as_bytes(given)
    if isinstance(given, str) and accepts.is_text:
        return given
    raise WrongKind(f"{described(given)} was sent; this model takes {accepts.name}: {accepts.hint}")


def json_value(given: Any, media: str) -> Any:
    """JSON -> its value, also if the engine has parsed it already.

    TorchServe parses a body of type application/json, so text in it is a JSON string's value. Bytes are a body that it could not
    parse. Everywhere else, text is JSON that nobody has parsed.
    """
    is_unparsed = isinstance(given, bytes | bytearray) or (isinstance(given, str) and media != JSON)
    return parsed(given) if is_unparsed else given


def as_bytes(given: Any) -> Any:
    """TorchServe's bytearray -> bytes. Everything else stays."""
    return bytes(given) if isinstance(given, bytearray) else given


def form_parameters(options: dict[str, Any], parameters: type[msgspec.Struct]) -> msgspec.Struct:
    """A form's other fields -> parameters. Each field is one, or the field `parameters` is JSON with all of them."""
    if not options:
        return convert({}, parameters, strict=True)
    try:
        texts = {name: value.decode() if isinstance(value, bytes | bytearray) else value for name, value in options.items()}
        values = texts.pop("parameters", {})  # the engine has parsed it if that part of the form is JSON
        values = json.loads(values) if isinstance(values, str) else values
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"the form's parameters cannot be read ({error}); each is UTF-8, and 'parameters' is JSON") from None
    return convert(values | texts if isinstance(values, dict) else values, parameters, strict=False)


def convert(values: Any, parameters: type[msgspec.Struct], strict: bool) -> msgspec.Struct:
    """Check the parameters. With `strict=False`, a form's "3" is the number 3."""
    if not isinstance(values, dict):
        raise WrongValue(f"'parameters' is {described(values)}; send an object with {', '.join(parameters.__struct_fields__)}")
    for name in values:
        if name not in parameters.__struct_fields__:
            raise WrongValue(f"no parameter {name!r}{did_you_mean(name, parameters.__struct_fields__)}")
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
    values = properties.get(name, {}).get("enum", [])
    return f"; it is one of {', '.join(map(repr, values))}" if values else ""


def refuse(error: Exception) -> Refusal:
    """Map an exception to an HTTP status.

    Only InputError is a client error. OutputError is a server error whose message may be shown. A plain ValueError is a server
    error, because torch raises it for our bugs.
    """
    if isinstance(error, InputError | OutputError):
        return Refusal(error.status, str(error))
    if is_out_of_memory(error):
        return Refusal(507, "this input needs more memory than the worker has; send a smaller one", error)
    if isinstance(error, DeadlineExceeded):
        return Refusal(504, f"{error} before this request was answered; send a smaller one, or raise responseTimeout", error)
    return Refusal(500, "the model failed on this request", error)


def is_out_of_memory(error: Exception) -> bool:
    """Python's MemoryError, torch's error for GPUs, or the plain RuntimeError that torch raises on a CPU."""
    kind = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return kind or "can't allocate memory" in str(error)
