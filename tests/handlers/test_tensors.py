"""handlers/tensors.py: tensors of the Open Inference Protocol, in JSON and in binary."""

import struct

import numpy as np
import pytest

from handlers.request import Kind
from handlers.sequences import SERIES
from handlers.tables import ROW
from handlers.tensors import BYTES, NUMBERS, Tensor, from_binary, inputs_of, read_all, to_binary
from handlers.text import TEXT
from handlers.vision import PICTURE
from model_defs.errors import Unreadable, WrongKind, WrongValue

GRAPH = Kind("a graph", (), "", is_json=True, tensors="whole")
PARTS = Kind("parts", (), "", is_json=True, parts=("image", "text"), tensors="columns")


def given(values, datatype="FP32", shape=None, name="x", **parameters) -> dict:
    found = {"name": name, "datatype": datatype, "shape": shape or [len(values)], "data": values}
    return found | ({"parameters": parameters} if parameters else {})


def packed(*texts: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(text)) + text for text in texts)


def binary(size: int, datatype="BYTES", shape=(1,), name="x") -> dict:
    return {"name": name, "datatype": datatype, "shape": [*shape], "parameters": {"binary_data_size": size}}


# --- reading


@pytest.mark.parametrize("data", [[1, 2, 3, 4], [[1, 2], [3, 4]], [[[1], [2]], [[3], [4]]]])
def test_values_may_be_nested_or_flat(data):
    (tensor,) = read_all([given(data, shape=[2, 2])], b"")
    assert tensor == Tensor("x", "FP32", [2, 2], [1, 2, 3, 4]) and tensor.rows() == [[1, 2], [3, 4]]


@pytest.mark.parametrize("datatype", NUMBERS)
def test_binary_numbers_are_those_that_were_sent(datatype):
    values = np.array([1, 0, 1], NUMBERS[datatype])
    (tensor,) = read_all([binary(values.nbytes, datatype, (3,))], values.tobytes())
    assert tensor.values == [1, 0, 1]


def test_binary_tensors_follow_each_other_after_those_in_json():
    content = packed(b"a", b"", b"\xff\x00") + struct.pack("<2f", 0.5, -1)
    tensors = read_all([given([1]), binary(15, shape=(3,), name="y"), binary(8, "FP32", (2,), "z")], content)
    assert [tensor.values for tensor in tensors] == [[1], [b"a", b"", b"\xff\x00"], [0.5, -1]]


@pytest.mark.parametrize("values", [["a", "ö", ""], []])
def test_texts_written_as_binary_are_read_again(values):
    written = to_binary(Tensor("x", BYTES, [len(values)], values))
    assert [value.decode() for value in from_binary(memoryview(written), BYTES, "x")] == values


@pytest.mark.parametrize(
    ("inputs", "content", "error", "said"),
    [
        ("x", b"", WrongValue, "'inputs' is text; send a list of tensors"),
        ([], b"", WrongValue, "'inputs' is empty"),
        (["x"], b"", WrongValue, "a tensor is text"),
        ([given([1]) | {"dtype": "x"}], b"", WrongValue, "a tensor has no key 'dtype'"),
        ([given([1], datatype="FP31")], b"", WrongValue, "the datatype 'FP31'; did you mean 'FP32'"),
        ([given([1]) | {"name": 3}], b"", WrongValue, "both are text"),
        ([given([1], shape=[-1])], b"", WrongValue, r"the shape \[-1\]"),
        ([given([1]) | {"shape": []}], b"", WrongValue, r"the shape \[\]"),
        ([given([1], shape=[True])], b"", WrongValue, r"the shape \[True\]"),
        ([given([1], shape=[2, 3])], b"", WrongValue, "1 values; the shape .* has 6"),
        ([given([1, [2]])], b"", WrongValue, "lists next to values"),
        ([given([1]) | {"data": 3}], b"", WrongValue, "'data' of a tensor is a number"),
        ([given([1], binary_data_size=4)], bytes(4), WrongValue, "either 'data' or"),
        ([{"name": "x", "datatype": "FP32", "shape": [1]}], b"", WrongValue, "either 'data' or"),
        ([binary(8, "FP32")], bytes(4), Unreadable, "binary_data_size 8; 4 bytes are left"),
        ([binary(4, "FP32")], bytes(5), Unreadable, "1 bytes follow the last tensor"),
        ([binary(3, "FP32")], bytes(3), Unreadable, "3 bytes; each FP32 has 4"),
        ([binary(6)], struct.pack("<I", 3) + b"ab", Unreadable, "ends in the middle of element 0"),
        ([binary(2)], b"ab", Unreadable, "ends in the middle of element 0"),
        ([binary(-1)], b"", WrongValue, "binary_data_size of the tensor 'x' is -1"),
        ([given(["a"], "BYTES", content_type="hg_json")], b"", WrongValue, "the content_type 'hg_json'"),
        ([given([1], shared_memory_region="r")], b"", WrongValue, "the parameter 'shared_memory_region'"),
        ([given([1]), given([1])], b"", WrongValue, "two tensors have the name 'x'"),
    ],
)
def test_a_malformed_tensor_is_refused_with_the_reason(inputs, content, error, said):
    with pytest.raises(error, match=said):
        read_all(inputs, content)


def test_a_shape_of_a_billion_empty_rows_costs_nothing():
    (tensor,) = read_all([given([], shape=[10**9, 0])], b"")
    assert inputs_of([tensor], SERIES) == []


# --- layouts


def tensor(values, datatype="FP64", shape=None, name="x") -> Tensor:
    return Tensor(name, datatype, shape or [len(values)], values)


def test_each_element_of_bytes_is_a_text_or_a_file():
    assert inputs_of([tensor(["a", "b"], BYTES)], TEXT) == ["a", "b"]
    assert inputs_of([tensor([b"\x89PNG"], BYTES, [1, 1])], PICTURE) == [b"\x89PNG"]


def test_numbers_are_one_series_or_one_per_row():
    assert inputs_of([tensor([1.0, 2.0, 3.0])], SERIES) == [[1.0, 2.0, 3.0]]
    assert inputs_of([tensor([1.0, 2.0, 3.0, 4.0], shape=[2, 2])], SERIES) == [[1.0, 2.0], [3.0, 4.0]]


def test_columns_are_rows_and_not_a_number_is_unknown():
    columns = [tensor([31.0, float("nan")], name="age"), tensor(["nurse", b"baker"], BYTES, [2, 1], "job")]
    assert inputs_of(columns, ROW) == [{"age": 31.0, "job": "nurse"}, {"age": None, "job": "baker"}]


def test_the_bytes_of_a_part_stay_bytes():
    columns = [tensor([b"\x89PNG"], BYTES, name="image"), tensor(["what?"], BYTES, name="text")]
    assert inputs_of(columns, PARTS) == [{"image": b"\x89PNG", "text": "what?"}]


def test_all_tensors_together_are_one_graph():
    nodes, edges = tensor([1.0, 2.0], shape=[2, 1], name="nodes"), tensor([0, 1], "INT64", [1, 2], "edges")
    assert inputs_of([nodes, edges], GRAPH) == [{"nodes": [[1.0], [2.0]], "edges": [[0, 1]]}]


@pytest.mark.parametrize("kind", [ROW, SERIES, GRAPH, PARTS], ids=lambda kind: kind.name)
def test_a_tensor_named_inputs_has_whole_inputs_in_json(kind):
    assert inputs_of([tensor(['{"a": 1}', "2"], BYTES, name="inputs")], kind) == ['{"a": 1}', "2"]


@pytest.mark.parametrize(
    ("tensors", "kind", "error", "said"),
    [
        ([tensor([1.0])], TEXT, WrongKind, "'x' is FP64; this model takes a text, in a BYTES tensor"),
        ([tensor(["a"], BYTES), tensor(["b"], BYTES, name="y")], PICTURE, WrongValue, "2 tensors: 'x', 'y'; .* in one tensor"),
        ([tensor(["1"], BYTES)], SERIES, WrongKind, "send numbers"),
        ([tensor([1.0], shape=[1, 1, 1])], SERIES, WrongValue, r"the shape \[1, 1, 1\]"),
        ([tensor([1.0, 2.0]), tensor([1.0], name="y")], ROW, WrongValue, "'y' has 1 values; 'x' has 2"),
    ],
)
def test_tensors_that_hold_no_input_are_refused(tensors, kind, error, said):
    with pytest.raises(error, match=said):
        inputs_of(tensors, kind)
