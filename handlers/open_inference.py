"""The Open Inference Protocol, v2, over HTTP: a body of tensors -> inputs, and answers -> a body of tensors.

https://github.com/open-inference/open-inference-protocol, with Triton's binary tensor data extension.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from handlers.answer_tensors import ANSWERS, ERRORS, EXPLANATIONS, tensors_of
from handlers.parameters import convert
from handlers.request import FORM, JSON, Answer, Kind, RawRequest, Request, decompressed
from handlers.several import Several, check_count, most_severe
from handlers.tensors import BYTES, Tensor, inputs_of, read_all, to_binary
from model_defs.build import did_you_mean
from model_defs.errors import Unreadable, WrongValue
from model_defs.json_input import described, parsed

if TYPE_CHECKING:
    from handlers.protocols import Model

KEYS = ("id", "inputs", "outputs", "parameters")
MODEL_KEYS = ("model_name", "model_version")  # kserve's client repeats the address
OUTPUT_KEYS = ("name", "parameters")
AS_FIELD = f"{FORM}; boundary=tensor"  # bytes of a tensor are read as those of a form's field
HEADER = "Inference-Header-Content-Length"  # where the JSON ends and the binary data begins


class Wanted(msgspec.Struct):
    """What the answer must look like.

    Args:
        outputs: the names of the tensors, each with whether it is to be binary; None for all.
        is_binary: whether all are to be, if `outputs` is None.
        explain: whether they are explanations.
    """

    id: str | None
    outputs: dict[str, bool] | None
    is_binary: bool
    explain: bool


def read_v2(raw: RawRequest, model: "Model", value: Any = None) -> Several:
    """
    Args:
        value: the body, if it is parsed.

    Raises:
        WrongValue: a key, a tensor or an output that the protocol or the model does not have.
        Unreadable: the body is not JSON, or its binary data has another length than it says.
        TooLarge: too many inputs.
    """
    binary = b""
    if value is None:
        fields = decompressed(raw, raw.content_type.partition(";")[0].strip().lower())
        value, binary = taken_apart(fields.get("body", b""), raw.json_bytes)
    if not isinstance(value, dict):
        raise WrongValue(f"the body is {described(value)}; send an object with {', '.join(KEYS)}")
    for key in value:
        if key not in (*KEYS, *MODEL_KEYS):
            raise WrongValue(f"the body has no key {key!r}{did_you_mean(key, KEYS)}")
    for key, known in zip(MODEL_KEYS, (model.name, model.version), strict=True):
        if value.get(key) not in (None, "", known):
            raise WrongValue(f"{key!r} is {str(value[key])[:60]!r}; here answers {known!r}")
    options = checked_object(value.get("parameters"), "parameters")
    wanted = wanted_of(value, options, model, raw.explain)
    inputs = inputs_of(read_all(value.get("inputs"), binary), model.accepts)
    check_count(len(inputs), model.most_inputs)
    return several(inputs, options, raw, model, partial(as_tensors, wanted=wanted, model=model), as_native)


def taken_apart(body: Any, json_bytes: int | None) -> tuple[Any, bytes]:
    """The body's JSON, and the binary data after it."""
    text = body.encode() if isinstance(body, str) else bytes(body) if isinstance(body, bytes | bytearray) else body
    if not isinstance(text, bytes):
        return text, b""
    end = len(text) if json_bytes is None else json_bytes
    if not 0 <= end <= len(text):
        raise Unreadable(f"{HEADER} is {end:,}; the body has {len(text):,} bytes")
    return parsed(text[:end]), text[end:]


def wanted_of(value: dict, options: dict, model: "Model", explain: bool) -> Wanted:
    """What the request says about its answer. `binary_data_output` is taken out of the options."""
    identity = value.get("id")
    if identity is not None and not isinstance(identity, str):
        raise WrongValue(f"'id' is {described(identity)}; send text")
    is_binary = options.pop("binary_data_output", False)
    if not isinstance(is_binary, bool):
        raise WrongValue(f"binary_data_output is {described(is_binary)}; send true or false")
    outputs = value.get("outputs")
    if not outputs:
        if outputs not in (None, []):
            raise WrongValue(f"'outputs' is {described(outputs)}; send a list of tensors' names")
        return Wanted(identity, None, is_binary, explain)
    if not isinstance(outputs, list):
        raise WrongValue(f"'outputs' is {described(outputs)}; send a list of tensors' names")
    known = [EXPLANATIONS.name] if explain else [*(output.name for output in model.outputs), ANSWERS.name]
    return Wanted(identity, dict(output_of(one, known, is_binary) for one in outputs), is_binary, explain)


def output_of(given: Any, known: list[str], is_binary: bool) -> tuple[str, bool]:
    """An entry of `outputs` -> the tensor's name, and whether it is to be binary."""
    given = checked_object(given, "an output")
    for key in given:
        if key not in OUTPUT_KEYS:
            raise WrongValue(f"an output has no key {key!r}{did_you_mean(key, OUTPUT_KEYS)}")
    name = given.get("name")
    if name not in known:
        raise WrongValue(f"this model gives no tensor {name!r}{did_you_mean(str(name), known)}")
    parameters = checked_object(given.get("parameters"), "an output's parameters")
    for key, value in parameters.items():
        if key != "binary_data" or not isinstance(value, bool):
            raise WrongValue(f"the output {name!r} has the parameter {key!r}; an output has binary_data, true or false")
    return name, parameters.get("binary_data", is_binary)


def checked_object(given: Any, name: str) -> dict:
    """A copy of the object; {} for null."""
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise WrongValue(f"{name} is {described(given)}; send an object")
    return dict(given)


def several(inputs: list, options: Any, raw: RawRequest, model: "Model", fold: Callable, as_native: Callable) -> Several:
    """The inputs as requests. Texts are taken as they are, since there is nothing to parse.

    Args:
        options: the parameters of all of them.
        as_native: (input, options, kind, raw request) -> a native request.
    """
    if not model.accepts.is_text or not all(isinstance(one, str) for one in inputs):
        return Several([as_native(one, options, model.accepts, raw) for one in inputs], fold)
    values = convert(options, model.parameters_of(raw), strict=True)
    requests = [Request(one, values, raw.explain) for one in inputs]
    return Several([msgspec.structs.replace(raw, protocol="")] * len(inputs), fold, requests)


def as_native(given: Any, options: dict, accepts: Kind, raw: RawRequest) -> RawRequest:
    """A native request of one input. Text and bytes that are no JSON string's value go as a form's field."""
    changes: dict[str, Any] = {"encoding": "", "client": "", "protocol": "", "json_bytes": None}
    if accepts.is_text and isinstance(given, bytes):
        given = text_of(given)
    if isinstance(given, bytes) or (accepts.is_json and isinstance(given, str)):
        changes |= {"fields": {"data": given, "parameters": options}, "content_type": AS_FIELD}
    else:
        changes |= {"fields": {"body": {"inputs": given, "parameters": options}}, "content_type": JSON}
    return msgspec.structs.replace(raw, **changes)


def text_of(given: bytes) -> str | bytes:
    """The text, or the bytes if they are none, for which the transform has the message."""
    try:
        return given.decode()
    except UnicodeDecodeError:
        return given


def as_tensors(answers: list[Answer], wanted: Wanted, model: "Model") -> Answer:
    """The answers' tensors. If all inputs were refused, so is the request; if some were, the tensor `errors` says which."""
    if worst := most_severe(answers):
        return worst
    decoded = [msgspec.json.decode(answer.body) if answer.code == 200 else None for answer in answers]
    tensors = tensors_of(decoded, [EXPLANATIONS] if wanted.explain else model.outputs)
    if wanted.outputs is not None:
        if ANSWERS.name in wanted.outputs:
            tensors += [] if tensors[0].name == ANSWERS.name else tensors_of(decoded, [ANSWERS])
        tensors = [tensor for tensor in tensors if tensor.name in wanted.outputs]
    if None in decoded:
        errors = ["" if answer.code == 200 else answer.body.decode() for answer in answers]
        tensors.append(Tensor(ERRORS.name, BYTES, [len(answers)], errors))
    return written(tensors, wanted, model)


def written(tensors: list[Tensor], wanted: Wanted, model: "Model") -> Answer:
    """The body: JSON, and the binary data of those tensors that are to have it."""
    outputs, binary = [], []
    for tensor in tensors:
        head: dict[str, Any] = {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape}
        if wanted.is_binary if wanted.outputs is None else wanted.outputs.get(tensor.name, False):
            binary.append(to_binary(tensor))
            outputs.append(head | {"parameters": {"binary_data_size": len(binary[-1])}})
        else:
            outputs.append(head | {"data": tensor.values})
    whole: dict[str, Any] = {"model_name": model.name, "model_version": model.version}
    whole |= {"id": wanted.id} if wanted.id is not None else {}
    body = msgspec.json.encode(whole | {"outputs": outputs})
    if not binary:
        return Answer(body)
    return Answer(body + b"".join(binary), 200, "application/octet-stream", {HEADER: str(len(body))})
