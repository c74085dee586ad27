"""Every body form of the wire -> one Request; and which status a failure becomes.

A body is the raw bytes of a file, UTF-8 text, `{"inputs": ..., "parameters": {...}}`, or a multipart form. Knows nothing
of TorchServe: an engine hands over Rows.
"""

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from handlers.batch import Refusal
from handlers.deadline import DeadlineExceeded
from model_defs.build import did_you_mean
from model_defs.errors import InputError, OutputError, Unreadable, WrongKind, WrongValue
from model_defs.json_input import from_base64, inputs_of, parsed, shape

PAYLOAD_FIELDS = ("data", "body", "inputs")  # one of them holds a row's or a form's input
JSON, FORM = "application/json", "multipart/form-data"


class Kind(msgspec.Struct, frozen=True):
    """What a model takes.

    Args:
        name: in messages.
        media: the media types that fit.
        hint: how to send one.
        is_text: rather than a file's bytes.
        is_json: any JSON value, whatever the media type says of it.
        parts: of a JSON object, the keys that a form may hold as fields of its own.
    """

    name: str
    media: tuple[str, ...]
    hint: str
    is_text: bool = False
    is_json: bool = False
    parts: tuple[str, ...] = ()


PICTURE = Kind("a picture", ("image/",), "send the bytes of a JPEG, PNG or WebP file: curl -T picture.jpg URL")
SOUND = Kind("a sound", ("audio/", "video/"), "send the bytes of a WAV, FLAC, OGG or MP3 file: curl -T sound.wav URL")
TEXT = Kind("a text", ("text/",), "send UTF-8: curl -H 'Content-Type: text/plain' -d 'the text' URL", is_text=True)
MEDIA = ("image/", "audio/", "video/", "text/", "font/", "model/")  # main types that say what the bytes are


class RawRequest(msgspec.Struct):
    """One request as an engine received it.

    Args:
        fields: the form's fields, or the body under "body": bytes, text, or JSON already parsed.
        content_type: the header, "" where there is none.
        id: for the log and for the answer to a fault of ours.
        explain: an explanation is wanted rather than a prediction.
        client: which program sent it, the User-Agent header.
    """

    fields: Mapping[str, Any]
    content_type: str = ""
    id: str = ""
    explain: bool = False
    client: str = ""


class Request(msgspec.Struct):
    """One request as a handler sees it.

    Args:
        payload: a file's bytes; text, as bytes where it could not be decoded; or a JSON value.
        parameters: of the handler's own `Parameters` type.
        explain, client: the row's.
    """

    payload: Any
    parameters: Any
    explain: bool = False
    client: str = ""


def read(row: RawRequest, accepts: Kind, parameters: type[msgspec.Struct]) -> Request:
    """
    Raises:
        Unreadable: JSON or base64 that does not parse.
        WrongKind: text for a picture model, a form that no engine takes apart ...
        WrongValue: a JSON body without `inputs`, two inputs in a form, or parameters out of range or unknown.
    """
    media = row.content_type.partition(";")[0].strip().lower()
    names = [name for name in PAYLOAD_FIELDS if name in row.fields]
    parts = {name: plain(row.fields[name]) for name in accepts.parts if name in row.fields}
    if media.startswith("multipart/") and not (media == FORM and "boundary=" in row.content_type.lower()):
        raise WrongKind(f"{media} without a boundary, or not {FORM}, is not taken apart; send curl's -F data=@file")
    if not names and not parts:
        raise missing(row, media, accepts)
    if len(names) + bool(parts) > 1:
        one, other = [*names, *parts][:2]
        raise WrongValue(f"the form has both {one!r} and {other!r}; send one input a request")
    if media.startswith(MEDIA) and not media.startswith(accepts.media):
        raise WrongKind(f"{media} was sent; this model takes {accepts.name}: {accepts.hint}")
    if not parts and (media == JSON or (accepts.is_json and media != FORM)):
        given = row.fields[names[0]]
        is_read = media == JSON or not isinstance(given, str)  # what is sent as text/* comes as text
        return read_json(given if is_read else parsed(given), row, accepts, parameters)
    payload = parts or as_payload(row.fields[names[0]], accepts)
    options = {name: value for name, value in row.fields.items() if name not in (*PAYLOAD_FIELDS, *accepts.parts)}
    return Request(payload, read_options(options, parameters), row.explain, row.client)


def missing(row: RawRequest, media: str, accepts: Kind) -> InputError:
    """What to tell a caller whose row has no payload."""
    if media == "application/x-www-form-urlencoded":
        return WrongKind(f"a form-encoded body, curl's default for -d, does not reach the model; {accepts.hint}")
    if row.fields:
        wanted = " and ".join(map(repr, accepts.parts)) or "'data'"
        return WrongValue(f"the form has the fields {', '.join(map(repr, row.fields))}; put the input into {wanted}")
    return Unreadable(f"the body is empty; {accepts.hint}")


def read_json(given: Any, row: RawRequest, accepts: Kind, parameters: type[msgspec.Struct]) -> Request:
    """`{"inputs": ..., "parameters": {...}}`, as huggingface_hub's InferenceClient sends it."""
    if isinstance(given, bytes | bytearray):  # a charset in the header, or none, or JSON that the engine could not parse
        given = parsed(given)
    payload = inputs_of(given)
    if not accepts.is_json:
        if not isinstance(payload, str):
            wanted = "text" if accepts.is_text else "base64 in a string"
            raise WrongValue(f"'inputs' is {shape(payload)}; this model takes {accepts.name}, as {wanted}, one a request")
        payload = payload if accepts.is_text else from_base64(payload)
    options = given.get("parameters")
    return Request(payload, convert({} if options is None else options, parameters, strict=True), row.explain, row.client)


def as_payload(given: Any, accepts: Kind) -> Any:
    """A field of a form, or a body that is not JSON; for the errors see `read`."""
    if accepts.is_json:
        return parsed(given) if isinstance(given, bytes | bytearray | str) else given  # a part may say that it is JSON
    if isinstance(given, bytes | bytearray):
        return plain(given)
    if isinstance(given, str) and accepts.is_text:
        return given
    raise WrongKind(f"{shape(given)} was sent; this model takes {accepts.name}: {accepts.hint}")


def plain(given: Any) -> Any:
    """TorchServe's bytearray -> bytes; the rest as it is."""
    return bytes(given) if isinstance(given, bytearray) else given


def read_options(options: dict[str, Any], parameters: type[msgspec.Struct]) -> msgspec.Struct:
    """The other fields of a form: each a parameter, or all of them as JSON in the field `parameters`."""
    if not options:
        return convert({}, parameters, strict=True)
    try:
        texts = {name: value.decode() if isinstance(value, bytes | bytearray) else value for name, value in options.items()}
        values = texts.pop("parameters", {})  # already parsed where that part of the form says that it is JSON
        values = json.loads(values) if isinstance(values, str) else values
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"the form's parameters cannot be read ({error}); each is UTF-8, and 'parameters' is JSON") from None
    return convert(values | texts if isinstance(values, dict) else values, parameters, strict=False)


def convert(values: Any, parameters: type[msgspec.Struct], strict: bool) -> msgspec.Struct:
    """Checked parameters; `strict=False` lets a form's "3" be the number 3."""
    if not isinstance(values, dict):
        raise WrongValue(f"'parameters' is {shape(values)}; send an object with {', '.join(parameters.__struct_fields__)}")
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
    """The values that the parameter takes which the error is about, where they can be listed."""
    name = str(error).rpartition("`$.")[2].rstrip("`")
    properties = msgspec.json.schema(parameters)["$defs"][parameters.__name__]["properties"]
    values = properties.get(name, {}).get("enum", [])
    return f"; it is one of {', '.join(map(repr, values))}" if values else ""


def refuse(error: Exception) -> Refusal:
    """The table: only an InputError is the caller's fault, an OutputError is ours and says what may be told; a bare ValueError is
    ours too, since torch raises it for our bugs."""
    if isinstance(error, InputError | OutputError):
        return Refusal(error.status, str(error))
    if is_out_of_memory(error):
        return Refusal(507, "this input needs more memory than the worker has; send a smaller one", error)
    if isinstance(error, DeadlineExceeded):
        return Refusal(504, f"{error} before this request was answered; send a smaller one, or raise responseTimeout", error)
    return Refusal(500, "the model failed on this request", error)


def is_out_of_memory(error: Exception) -> bool:
    """Python's own kind, that of torch for GPUs, or the bare RuntimeError that torch raises on a CPU."""
    kind = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return kind or "can't allocate memory" in str(error)
