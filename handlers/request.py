"""Parse requests: from every body form of the wire to one `Request`, and from an exception to an HTTP status.

A body is the raw bytes of a file, UTF-8 text, JSON `{"inputs": ..., "parameters": {...}}`, or a multipart form. An engine hands
over each of them as a `RawRequest`.
"""

import contextlib
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from handlers.batch import Refusal
from handlers.body_encoding import decoded, unpacked
from handlers.deadline import DeadlineExceeded
from handlers.parameters import convert, form_parameters
from handlers.several import SeveralInputs, alone, is_list_of_inputs
from model_defs.bundle_format import MAX_BODY_BYTES
from model_defs.errors import InputError, OutputError, Unreadable, WrongKind, WrongValue
from model_defs.json_input import described, from_base64, inputs_of, parsed

PAYLOAD_FIELDS = ("data", "body", "inputs")  # one of them is the input of a request or of a form
JSON, FORM = "application/json", "multipart/form-data"
JSON_TYPES = (JSON, "text/json", "application/x-json")  # and all that end in +json
OBJECT = re.compile(rb'(?:\xef\xbb\xbf)?\s*\{\s*(?:"([^"\\]*)"|\})')  # how a JSON object begins; the first key
MEDIA = ("image/", "audio/", "video/", "text/", "font/", "model/")  # media types that say what the bytes are


class Kind(msgspec.Struct, frozen=True):
    """The kind of data that a model takes. Each handler module defines its own.

    Args:
        name: for messages.
        media: the media types that fit, by prefix.
        hint: how to send one.
        is_text: whether it is text rather than a file's bytes.
        is_json: whether it is any JSON value, whatever the media type says.
        is_list: whether one input is a list itself, so that a list of inputs cannot be told from it.
        parts: keys of a JSON object that a form may have as separate fields.
        tensors: how the tensors of the Open Inference Protocol hold inputs: a name in `handlers/tensors.py`.
    """

    name: str
    media: tuple[str, ...]
    hint: str
    is_text: bool = False
    is_json: bool = False
    is_list: bool = False
    parts: tuple[str, ...] = ()
    tensors: str = "elements"


class RawRequest(msgspec.Struct):
    """One request as an engine received it.

    Args:
        fields: the form's fields, or the body under "body": bytes, text, or JSON that the engine has parsed.
        content_type: the header; "" if there is none.
        id: for the log, and for the answer to a server error.
        explain: whether the caller wants an explanation instead of a prediction.
        client: the User-Agent header.
        encoding: the Content-Encoding header.
        repeated: fields that came more than once. `fields` has a list of their values.
        max_bytes: that a compressed body may have when it is unpacked.
        protocol: the form of the body and of its answer: a name in `handlers/protocols.py`.
        json_bytes: of a body that is JSON and then binary tensors: the length of the JSON.
    """

    fields: Mapping[str, Any]
    content_type: str = ""
    id: str = ""
    explain: bool = False
    client: str = ""
    encoding: str = ""
    repeated: tuple[str, ...] = ()
    max_bytes: int = MAX_BODY_BYTES
    protocol: str = ""
    json_bytes: int | None = None


class Answer(msgspec.Struct):
    """The response to one caller."""

    body: bytes
    code: int = 200
    content_type: str = "application/json"
    headers: dict[str, str] = {}


class Request(msgspec.Struct):
    """One request as a handler sees it.

    Args:
        payload: a file's bytes; text, or its bytes if they are not UTF-8 or nobody said that they are text; or a JSON value.
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
        SeveralInputs: it has a list of inputs, or a form has a field for an input more than once. It is a WrongValue, too.
        Unreadable: JSON, base64 or a compressed body that does not parse, or an empty body.
        TooLarge: a compressed body that unpacks to too much.
        WrongKind: a media type, a Content-Encoding or a charset that is not taken, or a form that no engine can parse.
        WrongValue: a JSON body without `inputs`, two inputs in a form, a field that came twice, or an unknown or wrong parameter.
    """
    media = raw.content_type.partition(";")[0].strip().lower()
    if raw.repeated:
        name = raw.repeated[0]
        twice = f"the request has {name!r} more than once; send one input a request, each parameter once"
        if name in PAYLOAD_FIELDS and isinstance(raw.fields[name], list):
            raise SeveralInputs(twice, alone(raw, name, raw.fields[name]))
        raise WrongValue(twice)
    fields = decompressed(raw, media)
    parts = {name: as_bytes(fields[name]) for name in accepts.parts if name in fields}
    names = [name for name in PAYLOAD_FIELDS if name in fields]
    check_media(fields, raw.content_type, accepts, has_input=bool(names or parts))
    if len(names) + bool(parts) > 1:
        one, other = [*names, *parts][:2]
        raise WrongValue(f"the form has both {one!r} and {other!r}; send one input a request")
    payload: Any
    options: Any = {}
    if parts:
        payload = parts
    elif is_json_body(fields[names[0]], media, accepts):
        value = json_value(fields[names[0]], media)
        if is_list_of_inputs(value, accepts):
            rows = alone(raw, names[0], [value | {"inputs": one} for one in inputs_of(value)], fields)
            raise SeveralInputs(not_one(value["inputs"], accepts), rows)
        payload, options = from_json_body(value, accepts)
    else:
        payload = from_field(fields[names[0]], raw.content_type, media, accepts)
    others = {name: value for name, value in fields.items() if name not in (*PAYLOAD_FIELDS, *accepts.parts)}
    values = form_parameters(others, options, parameters) if others else convert(options, parameters, strict=True)
    return Request(payload, values, raw.explain, raw.client)


def decompressed(raw: RawRequest, media: str) -> Mapping[str, Any]:
    """The fields, with a compressed body unpacked and without an empty one. For the errors see `parse_request`."""
    fields, given = raw.fields, raw.fields.get("body")
    if media == FORM:
        if raw.encoding.strip().lower() not in ("", "identity"):
            raise WrongKind(f"Content-Encoding: {raw.encoding} of a form is not taken; send the form as it is")
        return fields
    if raw.encoding and isinstance(given, bytes | bytearray | str):
        packed = given.encode() if isinstance(given, str) else bytes(given)  # the engine may have taken it for text
        given = unpacked(packed, raw.encoding, raw.max_bytes)
        fields = {**fields, "body": given}
    is_empty = given == b"" or (given == "" and not is_json(media))
    return {name: value for name, value in fields.items() if name != "body"} if is_empty else fields


def check_media(fields: Mapping[str, Any], content_type: str, accepts: Kind, has_input: bool) -> None:
    """For the errors see `parse_request`."""
    media = content_type.partition(";")[0].strip().lower()
    if media.startswith("multipart/") and not (media == FORM and "boundary=" in content_type.lower()):
        raise WrongKind(f"{media} without a boundary, or not {FORM}, is not taken apart; send curl's -F data=@file")
    if not has_input:
        raise no_input(fields, media, accepts)
    if media.startswith(MEDIA) and not media.startswith(accepts.media) and not is_json(media):
        raise WrongKind(f"{media} was sent; this model takes {accepts.name}: {accepts.hint}")


def no_input(fields: Mapping[str, Any], media: str, accepts: Kind) -> InputError:
    """The error for a request that has no input."""
    if media == "application/x-www-form-urlencoded":
        return WrongKind(f"a form-encoded body, curl's default for -d, does not reach the model; {accepts.hint}")
    if fields:
        wanted = " and ".join(map(repr, accepts.parts)) or "'data'"
        return WrongValue(f"the form has the fields {', '.join(map(repr, fields))}; put the input into {wanted}")
    return Unreadable(f"the body is empty; {accepts.hint}; an input in the URL is not read")


def is_json(media: str) -> bool:
    """Whether a media type says that the body is JSON."""
    return media in JSON_TYPES or media.endswith("+json")


def is_json_body(given: Any, media: str, accepts: Kind) -> bool:
    """Whether an input is `{"inputs": ..., "parameters": ...}` rather than the input itself.

    Many clients send JSON without its media type. A text model would classify its source. No picture or sound begins like JSON.
    """
    if accepts.is_json or is_json(media):
        return media != FORM
    if isinstance(given, dict):  # the engine has parsed a form's field
        return "inputs" in given
    if not isinstance(given, bytes | bytearray | str):
        return False
    begin = OBJECT.match(given if isinstance(given, bytes | bytearray) else given.encode(errors="replace"))
    if begin is None:
        return False
    if begin[1] in (b"inputs", b"parameters") or not accepts.is_text:
        return True
    try:
        value = parsed(given)
    except InputError:
        return False
    return "inputs" in value


def from_json_body(value: Any, accepts: Kind) -> tuple[Any, Any]:
    """`{"inputs": ..., "parameters": {...}}`, as huggingface_hub's InferenceClient sends it -> the payload and the parameters."""
    payload, options = inputs_of(value), value.get("parameters")
    if not accepts.is_json:
        if not isinstance(payload, str):
            raise WrongValue(not_one(payload, accepts))
        payload = payload if accepts.is_text else from_base64(payload)
    return payload, {} if options is None else options


def not_one(payload: Any, accepts: Kind) -> str:
    """The message for a value of `inputs` that is no input."""
    wanted = "an object" if accepts.is_json else "text" if accepts.is_text else "base64 in a string"
    return f"'inputs' is {described(payload)}; this model takes {accepts.name}, as {wanted}, one a request"


def from_field(given: Any, content_type: str, media: str, accepts: Kind) -> Any:
    """A form's field, or a body that is not JSON -> the payload. For the errors see `parse_request`."""
    if accepts.is_json:
        return json_value(given, media)
    if accepts.is_text and isinstance(given, bytes | bytearray | str):
        return as_text(as_bytes(given), "" if media == FORM else content_type)
    if isinstance(given, bytes | bytearray):
        return as_bytes(given)
    raise WrongKind(f"{described(given)} was sent; this model takes {accepts.name}: {accepts.hint}")


def as_text(given: bytes | str, content_type: str) -> bytes | str:
    """A text in the header's charset -> text. Bytes stay if nobody says that they are text, or if they are not UTF-8."""
    text = decoded(given, content_type)
    if isinstance(text, bytes) and content_type.lower().startswith("text/"):
        with contextlib.suppress(UnicodeDecodeError):
            return text.decode()
    return text


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
