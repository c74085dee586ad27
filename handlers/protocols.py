"""The protocols of platforms: from a request's body to inputs and parameters, and from answers to a body.

Each protocol is an entry in `PROTOCOLS`. An engine names the one that belongs to a request's address. No protocol decodes an
input: it only finds them, and each goes the way of a native request.
"""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from handlers.answer_tensors import Output
from handlers.open_inference import read_v2, several
from handlers.request import JSON, Answer, Kind, RawRequest, Request, decompressed, json_value, parse_request
from handlers.several import Several, SeveralInputs, as_list, check_count, listed, most_severe
from model_defs.build import did_you_mean
from model_defs.errors import InputError, WrongValue
from model_defs.json_input import described, parsed

BASE64 = "b64"  # an instance that is an object with this key holds a file
WRAPPERS = (BASE64, "data", "body", "text")  # keys under which an instance may have its only value
V1_KEYS = ("instances", "parameters")
JSON_LINES = ("application/jsonlines", "application/x-jsonlines", "application/jsonl", "application/x-ndjson")
OBJECT = re.compile(rb"(?:\xef\xbb\xbf)?\s*\{")


class Model(msgspec.Struct, frozen=True):
    """What a protocol must know of a model.

    Args:
        parameters, explanation_parameters: the types; None if an explanation takes the parameters of a prediction.
        outputs: the tensors of its answers.
        most_inputs: that one request may have.
    """

    name: str
    version: str
    accepts: Kind
    parameters: type[msgspec.Struct]
    explanation_parameters: type[msgspec.Struct] | None
    outputs: tuple[Output, ...]
    most_inputs: int

    def parameters_of(self, raw: RawRequest) -> type[msgspec.Struct]:
        """The type of this request's parameters."""
        own = self.explanation_parameters if raw.explain else None
        return own or self.parameters


class Protocol(msgspec.Struct, frozen=True):
    """How one protocol's bodies are read and written.

    Args:
        read: a raw request -> the request of its one input, or `Several`. Raises an `InputError` if the body is malformed.
        refusal: from a refusal in the native form to the protocol's form.
        explanations: the path for explanations: `{whole}` is the model with its version, `{name}` the model alone.
    """

    read: Callable[[RawRequest, Model], Request | Several]
    refusal: Callable[[Answer], Answer]
    explanations: str = "/v1/models/{name}:explain"  # this path takes the bodies of v1, of v2 and of the bundle


def read(raw: RawRequest, model: Model) -> Request | Several:
    """One raw request in the form of its protocol. For the errors see `parse_request`."""
    return PROTOCOLS[raw.protocol].read(raw, model)


def refusal(answer: Answer, raw: RawRequest) -> Answer:
    """The refusal of a whole request, in the form of its protocol."""
    return PROTOCOLS[raw.protocol].refusal(answer)


def sent_on(explainer: str, raw: RawRequest) -> Answer:
    """The answer to a caller who is to ask other workers for an explanation. Most clients do that by themselves.

    Args:
        explainer: the name under which these workers are hosted, and the version: "digits.explain/1.0".
    """
    location = PROTOCOLS[raw.protocol].explanations.format(name=explainer.partition("/")[0], whole=explainer)
    said = {"code": 307, "type": "TemporaryRedirect", "message": f"explanations are at {location}; let curl follow: -L"}
    return refusal(Answer(msgspec.json.encode(said), 307, headers={"Location": location}), raw)


def read_alone(raw: RawRequest, model: Model) -> Request:
    """A native request of one input. For the errors see `parse_request`."""
    return parse_request(raw, model.accepts, model.parameters_of(raw))


# --- the bundle's own


def read_native(raw: RawRequest, model: Model) -> Request | Several:
    try:
        return read_alone(raw, model)
    except SeveralInputs as found:
        check_count(len(found.rows), model.most_inputs)
        return Several(found.rows, as_list)


def unchanged(answer: Answer) -> Answer:
    return answer


# --- KServe's first protocol and Vertex AI: `instances` -> `predictions`


def read_v1(raw: RawRequest, model: Model) -> Several:
    """`{"instances": [...], "parameters": {...}}`. Vertex has the parameters, and KServe does not."""
    fields = decompressed(raw, media_of(raw))
    return instances_of(body_of(fields), fields, raw, model)


def instances_of(value: Any, fields: Any, raw: RawRequest, model: Model) -> Several:
    """A parsed body -> its instances.

    Raises:
        WrongValue: no list of instances, an empty one, or a key that the protocol does not have.
        TooLarge: too many.
    """
    if not isinstance(value, dict) or not isinstance(value.get("instances"), list):
        given = described(value["instances"] if isinstance(value, dict) and "instances" in value else value)
        raise WrongValue(f'the body is {{"instances": [...], "parameters": {{...}}}} with a list; this one is {given}')
    for key in value:
        if key not in V1_KEYS:
            raise WrongValue(f"the body has no key {key!r}{did_you_mean(key, V1_KEYS)}")
    check_count(len(value["instances"]), model.most_inputs, "instances")
    options = {} if value.get("parameters") is None else value["parameters"]
    inputs = [unwrapped(instance, model.accepts) for instance in value["instances"]]
    fold = partial(as_predictions, key="explanations" if raw.explain else "predictions")
    if fields.keys() == {"body"}:
        return several(inputs, options, raw, model, fold, lambda one, options, *_: with_body(fields, one, options, raw))
    return Several([with_body(fields, one, options, raw) for one in inputs], fold)


def unwrapped(instance: Any, accepts: Kind) -> Any:
    """An instance -> the value of a native body's `inputs`: `{"b64": "..."}` is that base64, `{"data": ...}` that value."""
    if accepts.is_json or not isinstance(instance, dict) or len(instance) != 1 or not instance.keys() <= {*WRAPPERS}:
        return instance
    return next(iter(instance.values()))


def with_body(fields: Any, one: Any, options: Any, raw: RawRequest) -> RawRequest:
    """A native request of one input, with the other fields of the request, which are parameters in the URL."""
    return as_native({**fields, "body": {"inputs": one, "parameters": options}}, raw)


def as_native(fields: dict[str, Any], raw: RawRequest) -> RawRequest:
    """A native request whose body is parsed JSON."""
    changes = {"content_type": JSON, "encoding": "", "client": "", "protocol": "", "json_bytes": None}
    return msgspec.structs.replace(raw, fields=fields, **changes)


def as_predictions(answers: list[Answer], key: str) -> Answer:
    """`{"predictions": [...]}`. An instance that was refused has its error at its place; if all were, the request is refused."""
    body = b'{"%b":[%b]}' % (key.encode(), b",".join(listed(answers)))
    return most_severe(answers) or msgspec.structs.replace(answers[0], code=200, body=body)


def as_error(answer: Answer) -> Answer:
    """A native refusal -> `{"error": message}`."""
    message = msgspec.json.decode(answer.body)["message"]
    return msgspec.structs.replace(answer, body=msgspec.json.encode({"error": message}))


# --- an address that takes both of KServe's protocols, and what it took before


def read_kserve(raw: RawRequest, model: Model) -> Request | Several:
    """`instances` is v1, `inputs` with tensors is v2, everything else is native: TorchServe does not say at which address."""
    fields = decompressed(raw, media_of(raw))
    if raw.json_bytes is not None:
        return read_v2(raw, model)
    value = json_object(fields.get("body"), raw)
    if "instances" in value:
        return instances_of(value, fields, raw, model)
    if is_v2(value):
        return read_v2(raw, model, value)
    return read_native(raw, model)


def is_v2(value: dict) -> bool:
    """Whether the body has tensors. A list of rows of a table has no datatypes."""
    given = value.get("inputs")
    return isinstance(given, list) and any(isinstance(one, dict) and "datatype" in one for one in given)


def json_object(body: Any, raw: RawRequest) -> dict:
    """The body's value if it is a JSON object that can be read; else {}, because the native way says what is wrong with it."""
    if isinstance(body, dict):
        return body
    if not isinstance(body, bytes | bytearray | str):
        return {}
    text = body.encode(errors="replace") if isinstance(body, str) else body
    if not OBJECT.match(text):
        return {}
    try:
        value = parsed(bytes(text))
    except InputError:
        return {}
    return value if isinstance(value, dict) else {}


# --- SageMaker: what the address took before, `instances`, and JSON lines


def read_sagemaker(raw: RawRequest, model: Model) -> Request | Several:
    """JSON lines -> one input per line; `instances` as v1 has them; everything else is native."""
    if media_of(raw) in JSON_LINES:
        return read_lines(raw, model)
    fields = decompressed(raw, media_of(raw))
    value = json_object(fields.get("body"), raw)
    return instances_of(value, fields, raw, model) if "instances" in value else read_native(raw, model)


def read_lines(raw: RawRequest, model: Model) -> Several:
    """Each line is an input, or `{"inputs": ..., "parameters": {...}}`."""
    fields = decompressed(raw, media_of(raw))
    body = fields.get("body", b"")
    text = body.encode() if isinstance(body, str) else bytes(body)
    lines = [line for line in text.split(b"\n") if line.strip()]
    check_count(len(lines), model.most_inputs, "lines")
    values = [parsed(line) for line in lines]
    bodies = [value if isinstance(value, dict) and "inputs" in value else {"inputs": value} for value in values]
    return Several([as_native({**fields, "body": body}, raw) for body in bodies], as_lines)


def as_lines(answers: list[Answer]) -> Answer:
    """One line per input, a refusal as `{"error": {...}}`; if all were refused, the request is refused."""
    body = b"".join(line + b"\n" for line in listed(answers))
    return most_severe(answers) or msgspec.structs.replace(answers[0], code=200, body=body, content_type=JSON_LINES[0])


# --- helpers


def media_of(raw: RawRequest) -> str:
    return raw.content_type.partition(";")[0].strip().lower()


def body_of(fields: Any) -> Any:
    """The body of a request that must be JSON, whatever its media type says."""
    if "body" not in fields:
        raise WrongValue("the request has no body of JSON; send one")
    return json_value(fields["body"], "")


PROTOCOLS = {
    "": Protocol(read_native, unchanged, "/explanations/{whole}"),
    "v1": Protocol(read_v1, as_error),
    "v2": Protocol(read_v2, as_error),
    "kserve": Protocol(read_kserve, as_error),
    "vertex": Protocol(read_v1, as_error),
    "sagemaker": Protocol(read_sagemaker, unchanged),
}
