"""train/weight_files.py: weights are read from every form of a file; what could run code is read as data, or refused."""

import os
import pickle
import warnings

import pytest
import safetensors.torch
import torch
from torch import nn

from model_defs.artifact import Artifact
from model_defs.build import SpecError
from train.weight_files import read_weights


class MarkingPickle:
    """Unpickled, it writes a file."""

    def __init__(self, mark):
        self.mark = str(mark)

    def __reduce__(self):
        return os.mkdir, (self.mark,)


class MarkingModule(nn.Module):
    """As TorchScript, it writes a file when it is loaded."""

    def __init__(self, mark: str):
        super().__init__()
        self.mark = mark

    @torch.jit.export
    def __getstate__(self):
        return self.mark, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]) -> None:
        self.mark, self.training = state[0], state[1]
        torch.save(torch.ones(1), state[0])

    def forward(self, x: torch.Tensor):
        return x


def torchscript(file, mark):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated
        torch.jit.script(MarkingModule(str(mark))).save(file)


def load_torchscript(file):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.load(file)


ATTACKS = {  # writes the file; loads it as an unsafe reader would; the names of its tensors, or the refusal
    "TorchScript": (torchscript, load_torchscript, "is TorchScript without tensors by name"),
    "torch.save": (
        lambda file, mark: torch.save({"w": torch.ones(2), "x": MarkingPickle(mark)}, file),
        lambda file: torch.load(file, weights_only=False),
        "w",
    ),
    "torch.save before 1.6": (
        lambda file, mark: torch.save({"w": MarkingPickle(mark)}, file, _use_new_zipfile_serialization=False),
        lambda file: torch.load(file, weights_only=False),
        r"is a pickle, or what torch\.save wrote before torch 1\.6; save it once more",
    ),
    "pickle": (
        lambda file, mark: file.write_bytes(pickle.dumps(MarkingPickle(mark))),
        lambda file: pickle.loads(file.read_bytes()),
        r"is a pickle, .*; or give an artifact's folder",
    ),
}


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
@pytest.mark.parametrize("name", ATTACKS)
def test_a_file_that_could_run_code_does_not_run_it(name, suffix, tmp_path):
    write, load, found = ATTACKS[name]
    attack, file, mark = tmp_path / "attack.pt", tmp_path / f"weights.{suffix}", tmp_path / "mark"
    write(attack, mark)
    load(attack)
    assert mark.exists()  # the attack works
    mark.rmdir() if mark.is_dir() else mark.unlink()
    attack.rename(file)
    if found == "w":
        assert list(read_weights(str(file)).tensors) == ["w"]
    else:
        with pytest.raises(SpecError, match=found):
            read_weights(str(file))
    assert not mark.exists()


@pytest.mark.parametrize("key", [None, "state_dict", "model"])
def test_a_state_dict_is_taken_alone_and_out_of_a_checkpoint(key, tmp_path):
    given = nn.Linear(3, 2).state_dict()
    torch.save({key: given, "epoch": 3} if key else given, tmp_path / "weights.pt")
    read = read_weights(str(tmp_path / "weights.pt"))
    assert read.labels is None and read.tensors.keys() == given.keys()
    assert all(torch.equal(read.tensors[name], value) for name, value in given.items())


def test_a_file_with_two_networks_says_how_to_save_one(tmp_path):
    state = nn.Linear(3, 2).state_dict()
    torch.save({"student": state, "teacher": state}, tmp_path / "weights.pt")
    with pytest.raises(SpecError, match=r"several networks: student, teacher; .* torch\.save\(checkpoint\['student'\], "):
        read_weights(str(tmp_path / "weights.pt"))


def test_a_folder_of_an_artifact_says_which_labels_its_head_has(picture_artifact):
    read = read_weights(str(picture_artifact))
    assert read.labels == Artifact.read(picture_artifact).labels and "head.1.weight" in read.tensors


@pytest.mark.parametrize(
    ("source", "content", "said"),
    [
        ("nowhere.safetensors", None, r"nowhere\.safetensors: no such file of weights"),
        ("empty.safetensors", b"", r"empty\.safetensors is not a file of weights"),
        ("cut.safetensors", b"\x10\0\0\0\0\0\0\0{", r"cut\.safetensors: damaged safetensors"),
        ("text.pt", b"not weights", r"text\.pt is not a file of weights: neither safetensors nor what torch\.save writes"),
        ("broken.pt", b"PK\x03\x04 not a zip", r"broken\.pt: a damaged zip"),
    ],
)
def test_a_file_that_holds_no_weights_says_so(source, content, said, tmp_path):
    if content is not None:
        (tmp_path / source).write_bytes(content)
    with pytest.raises(SpecError, match=said):
        read_weights(str(tmp_path / source))


def test_torchvision_s_weights_are_for_networks_with_a_name():
    with pytest.raises(SpecError, match="networks that torchvision knows by name"):
        read_weights("DEFAULT", None)


def test_weights_need_no_suffix(tmp_path):
    safetensors.torch.save_file({"w": torch.ones(2)}, tmp_path / "weights.pt")
    assert read_weights(str(tmp_path / "weights.pt")).tensors["w"].tolist() == [1, 1]


def test_a_header_that_begins_as_a_pickle_does_is_still_safetensors(tmp_path):
    """Its length, 384 = 0x0180, makes the file begin with the bytes 80 01, as a pickle of protocol 1 would."""
    file = tmp_path / "weights.safetensors"
    for count in range(1, 400):
        safetensors.torch.save_file({"w" * count: torch.ones(1)}, file)
        if file.read_bytes()[:2] == b"\x80\x01":
            break
    assert file.read_bytes()[:2] == b"\x80\x01" and len(read_weights(str(file)).tensors) == 1
