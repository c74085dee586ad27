"""Tensors of the Open Inference Protocol, v2: from tensors to inputs, and from answers to tensors.

https://github.com/open-inference/open-inference-protocol, with Triton's binary tensor data extension. A tensor is a name, a
datatype, a shape and flat values in row-major order. The values of a BYTES tensor are text, or bytes if they came as such.
"""

import math
import struct
from collections.abc import Callable
from itertools import chain, pairwise
from typing import Any

import msgspec
import numpy as np

from handlers.request import Kind
from model_defs.build import did_you_mean
from model_defs.errors import Unreadable, WrongKind, WrongValue
from model_defs.json_input import described

BYTES, LENGTH = "BYTES", struct.Struct("<I")  # the length stands before each element
NUMBERS = {
    **{"BOOL": "?", "UINT8": "<u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8"},
    **{"INT8": "<i1", "INT16": "<i2", "INT32": "<i4", "INT64": "<i8", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8"},
}  # numpy's names
MAX_AXES, MAX_VALUES = 8, 1 << 32  # along one of them
KEYS = ("name", "shape", "datatype", "data", "parameters")
WHOLE = "inputs"  # the name of a BYTES tensor whose elements are whole inputs, for models that take JSON
CONTENT_TYPES = ("str", "base64")  # what a BYTES tensor's parameter `content_type` may say; both are what is done anyway


class Tensor(msgspec.Struct):
    """A tensor with its values, flat."""

    name: str
    datatype: str
    shape: list[int]
    values: list

    def rows(self) -> list:
        """The values along the first axis: single values, or lists of lists for more axes."""
        rows = self.values
        for size in reversed(self.shape[1:]):
            rows = [rows[start : start + size] for start in range(0, len(rows), size)] if size else []
        return rows


# --- from a request's tensors


def read_all(given: Any, binary: bytes) -> list[Tensor]:
    """The tensors of a request.

    Args:
        given: the value of its `inputs`.
        binary: what follows the JSON.

    Raises:
        WrongValue: not a list of tensors, an unknown key or datatype, or values that do not fit the shape.
        Unreadable: binary data that has another length than the request says.
    """
    if not isinstance(given, list) or not given:
        raise WrongValue(f"'inputs' is {described(given) if given else 'empty'}; send a list of tensors: {list(KEYS[:4])}")
    tensors, start, left = [], 0, memoryview(binary)
    for one in given:
        tensor, size = read(one, left[start:])
        start += size
        tensors.append(tensor)
    if start != len(binary):
        raise Unreadable(f"{len(binary) - start:,} bytes follow the last tensor; binary_data_size says how long each is")
    for name, other in pairwise(sorted(tensor.name for tensor in tensors)):
        if name == other:
            raise WrongValue(f"two tensors have the name {name!r}; send each once")
    return tensors


def read(given: Any, binary: memoryview) -> tuple[Tensor, int]:
    """One tensor, and how many of the binary bytes it took. For the errors see `read_all`."""
    if not isinstance(given, dict):
        raise WrongValue(f"a tensor is {described(given)}; send an object with {', '.join(KEYS[:4])}")
    for key in given:
        if key not in KEYS:
            raise WrongValue(f"a tensor has no key {key!r}{did_you_mean(key, KEYS)}")
    name, shape, datatype = (given.get(key) for key in KEYS[:3])
    if not isinstance(name, str) or not isinstance(datatype, str):
        raise WrongValue(f"the tensor {name!r} has the datatype {datatype!r}; both are text, such as 'inputs' and 'BYTES'")
    if datatype not in NUMBERS and datatype != BYTES:
        raise WrongValue(f"the tensor {name!r} has the datatype {datatype!r}{did_you_mean(datatype, [*NUMBERS, BYTES])}")
    if not isinstance(shape, list) or not 0 < len(shape) <= MAX_AXES or not all(map(is_size, shape)):
        raise WrongValue(f"the tensor {name!r} has the shape {str(shape)[:60]}; send a list of sizes, such as [1]")
    size = binary_size(given, name)
    if (size is None) == (given.get("data") is None):
        raise WrongValue(f"the tensor {name!r} needs either 'data' or the parameter 'binary_data_size'")
    if size is not None and size > len(binary):
        raise Unreadable(f"the tensor {name!r} says binary_data_size {size:,}; {len(binary):,} bytes are left")
    values = flat(given["data"]) if size is None else from_binary(binary[:size], datatype, name)
    if len(values) != math.prod(shape):
        raise WrongValue(f"the tensor {name!r} has {len(values):,} values; the shape {shape} has {math.prod(shape):,}")
    return Tensor(name, datatype, shape, values), size or 0


def is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MAX_VALUES


def binary_size(given: dict, name: str) -> int | None:
    """How many bytes the tensor has after the JSON; None if its data is in the JSON. For the errors see `read_all`."""
    parameters = given.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise WrongValue(f"'parameters' of the tensor {name!r} is {described(parameters)}; send an object, or leave it out")
    for key, value in parameters.items():
        if key not in ("binary_data_size", "content_type"):
            raise WrongValue(f"the tensor {name!r} has the parameter {key!r}; tensors have binary_data_size and content_type")
        if key == "content_type" and value not in CONTENT_TYPES:
            raise WrongValue(f"the tensor {name!r} has the content_type {value!r}; it is {' or '.join(CONTENT_TYPES)}")
    size = parameters.get("binary_data_size")
    if size is not None and (type(size) is not int or size < 0):
        raise WrongValue(f"binary_data_size of the tensor {name!r} is {str(size)[:40]}; send a number of bytes")
    return size


def flat(data: Any) -> list:
    """A tensor's data in JSON, nested or flat -> flat."""
    if not isinstance(data, list):
        raise WrongValue(f"'data' of a tensor is {described(data)}; send a list")
    while any(isinstance(one, list) for one in data):
        if not all(isinstance(one, list) for one in data):
            raise WrongValue("'data' of a tensor has lists next to values; send one list, or lists of one depth")
        data = list(chain.from_iterable(data))
    return data


def from_binary(content: memoryview, datatype: str, name: str) -> list:
    """A tensor's binary data -> its values. For the errors see `read_all`."""
    if datatype != BYTES:
        kind = np.dtype(NUMBERS[datatype])
        if len(content) % kind.itemsize:
            raise Unreadable(f"the tensor {name!r} has {len(content):,} bytes; each {datatype} has {kind.itemsize}")
        return np.frombuffer(content, kind).tolist()
    values: list[bytes] = []
    start = 0
    while start < len(content):
        first = start + LENGTH.size
        end = first + LENGTH.unpack_from(content, start)[0] if first <= len(content) else len(content) + 1
        if end > len(content):
            raise Unreadable(f"the tensor {name!r} ends in the middle of element {len(values):,}; each has its length before it")
        values.append(bytes(content[first:end]))
        start = end
    return values


def inputs_of(tensors: list[Tensor], accepts: Kind) -> list:
    """The inputs that the tensors hold: bytes or text for each file, text or JSON; a JSON value for rows, series and graphs.

    Raises:
        WrongValue: another number of tensors, or tensors of other shapes, than this kind of input has.
        WrongKind: another datatype.
    """
    is_whole = len(tensors) == 1 and tensors[0].name == WHOLE and tensors[0].datatype == BYTES
    return elements(tensors, accepts) if is_whole else LAYOUTS[accepts.tensors](tensors, accepts)


def elements(tensors: list[Tensor], accepts: Kind) -> list:
    """Each element of one BYTES tensor is an input."""
    (tensor,) = only_one(tensors, accepts)
    if tensor.datatype != BYTES:
        raise WrongKind(f"the tensor {tensor.name!r} is {tensor.datatype}; this model takes {accepts.name}, in a BYTES tensor")
    return tensor.values


def series(tensors: list[Tensor], accepts: Kind) -> list:
    """One axis is one series; with two axes, each row is one."""
    (tensor,) = only_one(tensors, accepts)
    if tensor.datatype == BYTES:
        raise WrongKind(f"the tensor {tensor.name!r} is BYTES; send numbers, or name it {WHOLE!r} if its elements are JSON")
    if len(tensor.shape) > 2:
        raise WrongValue(f"the tensor {tensor.name!r} has the shape {tensor.shape}; send [values], or [inputs, values]")
    return [tensor.values] if len(tensor.shape) == 1 else tensor.rows()


def columns(tensors: list[Tensor], accepts: Kind) -> list:
    """Each tensor is a column with a value per input. NaN is an unknown value, as JSON's null."""
    count = tensors[0].shape[0]
    for tensor in tensors:
        if len(tensor.values) != count:
            first = tensors[0].name
            raise WrongValue(
                f"the tensor {tensor.name!r} has {len(tensor.values):,} values; {first!r} has {count:,}: send [inputs]"
            )
    named = {tensor.name: [in_json(value, accepts) for value in tensor.values] for tensor in tensors}
    return [dict(zip(named, values, strict=True)) for values in zip(*named.values(), strict=True)]


def whole(tensors: list[Tensor], accepts: Kind) -> list:
    """All tensors together are one input, each under its name."""
    return [{tensor.name: tensor.rows() for tensor in tensors}]


LAYOUTS: dict[str, Callable[[list[Tensor], Kind], list]] = {
    "elements": elements,
    "series": series,
    "columns": columns,
    "whole": whole,
}


def only_one(tensors: list[Tensor], accepts: Kind) -> list[Tensor]:
    if len(tensors) > 1:
        names = ", ".join(repr(tensor.name) for tensor in tensors)
        raise WrongValue(f"{len(tensors)} tensors: {names}; this model takes {accepts.name}, in one tensor")
    return tensors


def in_json(value: Any, accepts: Kind) -> Any:
    """A value of a column as JSON has it. The parts of an input may be files, so their bytes stay."""
    if isinstance(value, bytes) and not accepts.parts:
        return value.decode(errors="replace")
    return None if isinstance(value, float) and math.isnan(value) else value


# --- to an answer's tensors


def to_binary(tensor: Tensor) -> bytes:
    """A tensor's values as binary data."""
    if tensor.datatype != BYTES:
        return np.asarray(tensor.values, NUMBERS[tensor.datatype]).tobytes()
    encoded = [value.encode() for value in tensor.values]
    return b"".join(LENGTH.pack(len(value)) + value for value in encoded)
