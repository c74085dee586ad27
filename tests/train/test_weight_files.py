"""train/weight_files.py: weights are read from safetensors; what could run code is refused without being opened."""

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


ATTACKS = {  # writes the file; loads it as an unsafe reader would; how the refusal calls it; how it can be saved again
    "TorchScript": (torchscript, load_torchscript, "a TorchScript file", r"torch\.jit\.load\('\S+'\)\.state_dict\(\)"),
    "torch.save": (
        lambda file, mark: torch.save({"w": MarkingPickle(mark)}, file),
        lambda file: torch.load(file, weights_only=False),
        r"a file of torch\.save",
        r"torch\.load\('\S+', weights_only=True\)",
    ),
    "torch.save before 1.6": (
        lambda file, mark: torch.save({"w": MarkingPickle(mark)}, file, _use_new_zipfile_serialization=False),
        lambda file: torch.load(file, weights_only=False),
        "a pickle",
        r"torch\.load\('\S+', weights_only=True\)",
    ),
    "pickle": (
        lambda file, mark: file.write_bytes(pickle.dumps(MarkingPickle(mark))),
        lambda file: pickle.loads(file.read_bytes()),
        "a pickle",
        r"torch\.load\('\S+', weights_only=True\)",
    ),
}


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
@pytest.mark.parametrize("name", ATTACKS)
def test_a_file_that_could_run_code_is_not_opened(name, suffix, tmp_path):
    write, load, kind, resave = ATTACKS[name]
    attack, file, mark = tmp_path / "attack.pt", tmp_path / f"weights.{suffix}", tmp_path / "mark"
    write(attack, mark)
    load(attack)
    assert mark.exists()  # the attack works
    mark.rmdir() if mark.is_dir() else mark.unlink()
    attack.rename(file)
    with pytest.raises(SpecError, match=rf"{kind}\. .* only if you trust it, .*torch 2\.10 or later: python -c .*{resave}"):
        read_weights(str(file))
    assert not mark.exists()


@pytest.mark.parametrize("key", [None, "state_dict", "model"])
def test_the_line_that_saves_weights_again_works(key, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = nn.Linear(3, 2).state_dict()
    torch.save({key: given, "epoch": 3} if key else given, "weights.pt")
    with pytest.raises(SpecError) as refused:
        read_weights("weights.pt")
    line = str(refused.value).partition('python -c "')[2].removesuffix('"')
    exec(line)
    read = read_weights("weights.safetensors")
    assert read.labels is None and all(torch.equal(read.tensors[name], value) for name, value in given.items())


def test_a_folder_of_an_artifact_says_which_labels_its_head_has(picture_artifact):
    read = read_weights(str(picture_artifact))
    assert read.labels == Artifact.read(picture_artifact).labels and "head.1.weight" in read.tensors


def test_an_artifact_whose_weights_are_a_pickle_is_refused(picture_artifact):
    torch.save({"w": torch.ones(1)}, picture_artifact / "weights.safetensors")
    with pytest.raises(SpecError, match=r"weights\.safetensors is a file of torch\.save"):
        read_weights(str(picture_artifact))


@pytest.mark.parametrize(
    ("source", "content", "said"),
    [
        ("nowhere.safetensors", None, r"nowhere\.safetensors: no such file of weights"),
        ("empty.safetensors", b"", r"empty\.safetensors is no file of weights \(another format\)"),
        ("cut.safetensors", b"\x10\0\0\0\0\0\0\0{", r"cut\.safetensors is no file of weights"),
        ("text.pt", b"not weights", r"text\.pt is no file of weights \(another format\); give \.safetensors"),
        ("broken.pt", b"PK\x03\x04 not a zip", "a broken zip file"),
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
