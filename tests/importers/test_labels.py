"""Labels: from a file or from the checkpoint, in their own order, one for each output."""

import pytest
import torch

from importers.found import ImportRefused
from importers.labels import as_labels
from model_defs.artifact import Artifact
from tests.importers.conftest import LABELS, write_json

NUMBERED = {str(index): label for index, label in enumerate(LABELS)}


@pytest.mark.parametrize(
    "given",
    [LABELS, NUMBERED, {"id2label": NUMBERED}, {label: index for index, label in enumerate(LABELS)},
     {number: ["n01", label] for number, label in NUMBERED.items()}],
)  # fmt: skip
def test_a_json_file_gives_them_by_number(imported, owner, given):
    (owner / "classes.txt").unlink()
    assert Artifact.read(imported("model.pth", "--labels", write_json(owner / "own.json", given))).labels == LABELS


def test_a_checkpoint_gives_them(imported, owner, network):
    torch.save({"model": network.state_dict(), "class_to_idx": {"b": 0, "a": 2, "c": 1}}, owner / "model.pth")
    assert Artifact.read(imported()).labels == ["b", "c", "a"]


@pytest.mark.parametrize(
    ("text", "said"),
    [("a\nb", "2 labels for 3 outputs"), ("a\nb\na", "the label 'a' is there twice"), ("\n", "0 labels for 3 outputs")],
)
def test_labels_that_do_not_fit_are_refused(imported, owner, text, said):
    (owner / "classes.txt").write_text(text)
    with pytest.raises(ImportRefused, match=said):
        imported()


def test_no_labels_or_two_files_of_them_are_refused_with_the_way_out(imported, owner):
    write_json(owner / "index_to_name.json", NUMBERED)
    with pytest.raises(ImportRefused, match="are both there; say which: LABELS="):
        imported()
    (owner / "index_to_name.json").unlink()
    (owner / "classes.txt").unlink()
    with pytest.raises(ImportRefused, match=r"3 outputs and no names for them; give LABELS=classes\.txt, one label per line"):
        imported()


@pytest.mark.parametrize("given", [None, [], {}, [1, 2], {"a": "b"}, {"0": "a", "2": "b"}, {"0": []}, 3, {"0": None}])
def test_what_is_no_list_of_labels_gives_none(given):
    assert as_labels(given) is None


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe\x00", b"[" * 100_000, b'{"0": "a", "5": "b"}'])
def test_a_damaged_file_is_refused_in_one_line(imported, owner, content):
    (owner / "own.json").write_bytes(content)
    with pytest.raises(ImportRefused, match="LABELS="):
        imported("model.pth", "--labels", str(owner / "own.json"))


@pytest.mark.parametrize(
    ("text", "said"),
    [('{"0": "a", "1": "b", "1": "c", "2": "d"}', "the key '1' twice"), ('["a", "", "c"]', "the label of output 1 is empty"),
     ('{"a": 0, "b": 1, "c": 1, "d": 2}', "neither"), ('{"0": "a", "1": "b", "01": "c", "2": "d"}', "neither")],
)  # fmt: skip
def test_a_name_that_would_be_lost_refuses_the_file(imported, owner, text, said):
    (owner / "own.json").write_text(text)
    with pytest.raises(ImportRefused, match=said):
        imported("model.pth", "--labels", str(owner / "own.json"))
