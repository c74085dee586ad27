"""Old handlers' values put together and taken apart, and what stands for TorchServe around them."""

import numpy as np
import pytest
import torch

from model_defs.errors import OutputError
from model_defs.legacy_context import LegacyContext, Refused
from model_defs.legacy_files import LegacyError, LegacyFiles, put_back, taken_out
from model_defs.legacy_handler import as_json, only, refused
from model_defs.legacy_rows import joined, length, split
from model_defs.weights_file import contents

VALUES = {
    "tensors": lambda index: torch.full((1, 2), float(index)),
    "arrays": lambda index: np.full((1, 2), float(index)),
    "lists": lambda index: [index],
    "tuples": lambda index: (torch.full((1, 2), float(index)), torch.full((1,), index)),
    "dicts": lambda index: {"ids": torch.full((1, 3), index), "more": [index]},
    "pairs in a list": lambda index: [torch.full((1, 2), float(index)), torch.full((1,), index)],
}


def equal(one, other) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return bool((one == other).all()) if hasattr(one, "shape") else one == other


@pytest.mark.parametrize("kind", VALUES)
def test_rows_that_are_put_together_come_apart_again(kind):
    given = [VALUES[kind](index) for index in range(5)]
    parts = split(joined(given), [length(value) for value in given])
    assert len(parts) == 5 and all(equal(one, other) for one, other in zip(parts, given, strict=True))


@pytest.mark.parametrize("values", [[torch.ones(1, 2), torch.ones(1, 3)], [iter([1]), iter([2])], [{1}, {2}]])
def test_rows_that_do_not_fit_together_are_an_error(values):
    with pytest.raises(ValueError, match="cannot be put together"):
        joined(values)


def test_an_output_whose_rows_cannot_be_told_apart_is_an_error():
    with pytest.raises(ValueError, match="cannot be told apart"):
        split(torch.ones(3, 2), [1, 1])


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        ({"a": (1, 2)}, {"a": [1, 2]}), ('{"a": 1}', {"a": 1}), (b"[1]", [1]), ("plain words", "plain words"), (3.5, 3.5),
        (b"plain", "plain"),
    ],
)  # fmt: skip
def test_an_answer_becomes_the_json_that_it_is(answer, value):
    assert as_json(answer) == value


@pytest.mark.parametrize("answer", [b"\xff\xfe", {1j}, torch.ones(2)])
def test_an_answer_that_is_no_json_is_the_servers_fault(answer):
    with pytest.raises(OutputError, match="is no JSON"):
        as_json(answer)


@pytest.mark.parametrize("answers", [[], [1, 2], 3, {"a": 1}])
def test_one_row_gets_one_answer(answers):
    with pytest.raises(LegacyError, match="for a list with one input"):
        only(answers)


def test_an_exception_is_the_inputs_fault_with_the_handlers_own_status():
    class Own(Exception):
        def __init__(self, message: str, error_code: int):
            self.message, self.error_code = message, error_code

    assert refused(Own("too dark", 422)).status == 422 and "too dark" in str(refused(Own("too dark", 422)))
    assert refused(Own("x", 503)).status == 400 and refused(ValueError("bad")).status == 400
    own = Refused(415, "x")
    assert refused(own) is own


def test_a_status_that_the_handler_sets_is_a_refusal(tmp_path):
    context = LegacyContext("old", tmp_path, {"handler": "h.py"}, "cuda:1")
    assert context.system_properties["gpu_id"] == 1 and context.manifest["model"]["handler"] == "h.py"
    context.check()
    context.set_response_status(413, "too large", 0)
    with pytest.raises(Refused, match="too large") as error:
        context.check()
    assert error.value.status == 413
    context.set_response_status(500, "oh")
    with pytest.raises(LegacyError, match="500 oh"):
        context.check()
    context.asked({"content-type": "text/plain"})
    context.check()
    assert context.get_request_header(0, "Content-Type") == "text/plain" and context.get_response_status(0) == (200, "")
    assert context.metrics.add_time("x", 1.0).add_counter("y", 1) is not None


def test_what_torch_saved_is_kept_without_a_pickle(tmp_path):
    given = {"model": {"w": torch.arange(6.0).view(2, 3)}, "epoch": 3, "sizes": (1, [2.5, None]), "names": {0: "a"}, "ok": True}
    torch.save(given, tmp_path / "x.pth")
    files = LegacyFiles({"handler": "h.py"}, {"h.py": b"x = 1"}, {"x.pth": contents(tmp_path / "x.pth")}, {"a/b.txt": b"\xff\0"})
    files.write(tmp_path / "made", "old")
    again = LegacyFiles.read(tmp_path / "made", "old")
    assert again.code == files.code and again.others == files.others and again.model == files.model
    found = again.weights["x.pth"]
    assert torch.equal(found["model"].pop("w"), given["model"].pop("w")) and found == given
    (tmp_path / "made" / "legacy.json").write_text("{}")
    with pytest.raises(LegacyError, match="damaged"):
        LegacyFiles.read(tmp_path / "made", "old")


def test_an_object_of_a_class_is_not_kept():
    with pytest.raises(LegacyError, match="an object of set, which would have to be unpickled"):
        taken_out([{1}], {})
    tensors: dict = {}
    assert put_back(taken_out({"a": [1, (2, None)]}, tensors), tensors) == {"a": [1, (2, None)]} and not tensors
