"""Files of weights: every form gives its tensors, and none runs a line."""

import pickle
import random
import struct
import time
import tracemalloc
import zipfile
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from model_defs import weights_file
from model_defs.inert_pickle import PickleError, loads
from model_defs.weights_file import WeightsError, read


class Leaves:
    """A payload that leaves a mark if it is unpickled by somebody who runs it."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


class Marked(nn.Module):
    """A module that is pickled with a payload in it."""

    def __init__(self, mark: Path):
        super().__init__()
        self.first, self.mark = nn.Linear(3, 2), Leaves(mark)
        self.register_buffer("hidden", torch.zeros(2), persistent=False)


@pytest.fixture
def mark(tmp_path):
    return tmp_path / "mark"


def scripted(network: nn.Module) -> torch.jit.ScriptModule:
    return torch.jit.script(network)


def traced(network: nn.Module) -> torch.jit.ScriptModule:
    return torch.jit.trace(network, torch.rand(1, 3))


def test_a_mark_is_left_by_who_unpickles(mark):
    """The payload works: without this, the tests below would show nothing."""
    pickle.loads(pickle.dumps(Leaves(mark)))
    assert mark.exists()


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model", "net"])
def test_a_checkpoint_gives_its_network_and_what_lies_next_to_it(tmp_path, mark, key):
    network = nn.Linear(3, 2)
    optimizer = torch.optim.Adam(network.parameters()).state_dict()
    torch.save(
        {key: network.state_dict(), "optimizer": optimizer, "classes": ["b", "a"], "epoch": Leaves(mark)}, tmp_path / "x.ckpt"
    )
    found = read(tmp_path / "x.ckpt")
    assert torch.equal(found.tensors["weight"], network.weight) and found.extras["classes"] == ["b", "a"]
    assert not mark.exists() and "pathlib.PosixPath" in found.named


def test_a_state_dict_gives_every_dtype_and_view(tmp_path, mark):
    whole = torch.arange(12.0).view(3, 4)
    given = {
        "whole": whole, "part": whole[1:, 2], "half": torch.ones(2).half(), "brain": torch.ones(2).bfloat16(),
        "count": torch.tensor(7), "empty": torch.empty(0, 3), "is": torch.tensor([True]), "byte": torch.zeros(1).byte(),
    }  # fmt: skip
    torch.save(given | {"payload": Leaves(mark)}, tmp_path / "x.pth")
    found = read(tmp_path / "x.pth")
    assert found.kind == "a state_dict" and found.tensors.keys() == given.keys() and not mark.exists()
    assert all(
        torch.equal(found.tensors[name], tensor) and found.tensors[name].dtype == tensor.dtype for name, tensor in given.items()
    )


def test_a_whole_pickled_module_gives_what_its_state_dict_would(tmp_path, mark):
    network = nn.Sequential(Marked(mark), nn.BatchNorm1d(2))
    torch.save(network, tmp_path / "x.pth")
    found = read(tmp_path / "x.pth")
    assert found.tensors.keys() == network.state_dict().keys() and "Sequential" in found.kind and not mark.exists()
    assert torch.equal(found.tensors["0.first.weight"], network[0].first.weight)


@pytest.mark.filterwarnings("ignore:.*deprecated")
@pytest.mark.parametrize("made", [scripted, traced])
def test_torchscript_gives_its_tensors_and_is_not_loaded(tmp_path, made):
    network = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).eval()
    made(network).save(tmp_path / "x.pt")
    found = read(tmp_path / "x.pt")
    assert found.kind == "TorchScript"
    assert all(torch.equal(found.tensors[name], tensor) for name, tensor in network.state_dict().items())


def test_safetensors_give_their_tensors(tmp_path):
    safetensors.torch.save_file({"a": torch.ones(2)}, tmp_path / "x.safetensors")
    assert torch.equal(read(tmp_path / "x.safetensors").tensors["a"], torch.ones(2))


def test_several_networks_in_one_checkpoint_need_a_key(tmp_path):
    torch.save({"model": {"a": torch.ones(2)}, "ema": {"a": torch.zeros(2)}}, tmp_path / "x.pth")
    with pytest.raises(WeightsError, match="several networks: model, ema; say which: ARGS='--key model'"):
        read(tmp_path / "x.pth")
    assert torch.equal(read(tmp_path / "x.pth", "ema").tensors["a"], torch.zeros(2))
    with pytest.raises(WeightsError, match="no tensors under 'other'; it has model, ema"):
        read(tmp_path / "x.pth", "other")


@pytest.mark.parametrize("content", [b"", b"hello", pickle.dumps({"a": 1}), b"\x08\x07onnx", b"PK\x03\x04", b"\x00" * 8 + b"{"])
def test_what_is_no_file_of_weights_says_the_way_out(tmp_path, content):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(WeightsError, match=r"torch\.save\(model\.state_dict|copy it again"):
        read(tmp_path / "x")


def test_the_old_form_of_torch_save_is_not_unpickled(tmp_path, mark):
    torch.save({"a": Leaves(mark)}, tmp_path / "x.pth", _use_new_zipfile_serialization=False)
    with pytest.raises(WeightsError, match=r"before torch 1\.6"):
        read(tmp_path / "x.pth")
    assert not mark.exists()


def test_a_pickle_alone_runs_nothing(mark):
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        loads(pickle.dumps([Leaves(mark), {1: {2, 3}}, (1, 2.5, "x", None, True, 10**30)], protocol))
    assert not mark.exists()


def test_a_value_is_the_one_that_was_pickled():
    given = {"a": [1, 2.5, None, True, b"x"], "b": ("é", -(10**20), {"c": ()}), 3: "d", 2.5: [[]]}
    for protocol in range(3, pickle.HIGHEST_PROTOCOL + 1):
        assert loads(pickle.dumps(given, protocol))[0] == given


@pytest.mark.parametrize(
    ("size", "stride", "offset"),
    [
        ((1 << 40,), (0,), 0),
        ((3,), (1,), 2),
        ((2, 2), (1 << 40, 1), 0),
        ((-1,), (1,), 0),
        ((1 << 60,), (1,), 0),
        ((1,) * 99, (1,) * 99, 0),
    ],
)
def test_a_tensor_cannot_claim_more_than_its_storage(size, stride, offset):
    with pytest.raises(PickleError, match="tensor"):
        weights_file.tensor(torch.zeros(4), offset, size, stride)


def bomb(file: Path, compression: int) -> Path:
    """A zip that looks like torch.save's, with 256 MiB of zeros as its data."""
    torch.save({"a": torch.zeros(4)}, file)
    with zipfile.ZipFile(file) as given:
        parts = {name: given.read(name) for name in given.namelist()}
    with zipfile.ZipFile(file, "w", compression) as changed:
        for name, content in parts.items():
            changed.writestr(name, bytes(1 << 28) if "/data/" in name else content)
    return file


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path):
    file = bomb(tmp_path / "x.pth", zipfile.ZIP_DEFLATED)
    tracemalloc.start()
    with pytest.raises(WeightsError, match="compressed"):
        read(file)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 << 20


def test_nested_tuples_and_cycles_take_no_time():
    nested = b"\x80\x02)" + b"".join(b"q" + bytes([index]) + b"h" + bytes([index]) + b"\x86" for index in range(60))
    started = time.monotonic()
    loads(nested + b"N}q\xff(h\x00h\x00u0.")  # the tuple is not hashed
    loads(b"\x80\x02" + nested[2:] + b"}\x85" + b".")
    cycle = {"a": None}
    cycle["a"] = cycle
    loads(pickle.dumps(cycle))
    assert time.monotonic() - started < 5


def mutated(content: bytes, seed: int) -> bytes:
    """A few bytes changed, a part cut out, or the end cut off."""
    draw = random.Random(seed)
    changed = bytearray(content)
    start = draw.randrange(len(changed))
    if seed % 3 == 0:
        del changed[start:]
    elif seed % 3 == 1:
        del changed[start : start + draw.randrange(1, 40)]
    for _ in range(draw.randrange(1, 12)):
        if changed:
            changed[draw.randrange(len(changed))] = draw.randrange(256)
    return bytes(changed)


@pytest.mark.filterwarnings("ignore")
def test_a_hundred_damaged_files_run_nothing_and_give_one_line(tmp_path, mark):
    network = nn.Linear(3, 2)
    torch.save({"model": network.state_dict(), "x": Leaves(mark)}, tmp_path / "0")
    torch.save(Marked(mark), tmp_path / "1")
    safetensors.torch.save_file(network.state_dict(), tmp_path / "2")
    torch.jit.script(network).save(tmp_path / "3")
    started = time.monotonic()
    for seed in range(100):
        (tmp_path / "x").write_bytes(mutated((tmp_path / str(seed % 4)).read_bytes(), seed))
        try:
            read(tmp_path / "x")
        except WeightsError as error:
            assert len(str(error).splitlines()) == 1
    assert not mark.exists() and time.monotonic() - started < 60


def test_a_hundred_damaged_pickles_run_nothing(mark):
    content = pickle.dumps([Leaves(mark), {"a": [1, (2, "b")]}, {3, 4}, b"c" * 20], 2)
    for seed in range(300):
        try:
            loads(mutated(content, seed))
        except PickleError as error:
            assert len(str(error).splitlines()) == 1
    assert not mark.exists()


def test_a_header_of_safetensors_that_lies_is_refused(tmp_path):
    header = b'{"a":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4000000000000]}}'
    (tmp_path / "x").write_bytes(struct.pack("<Q", len(header)) + header + bytes(16))
    with pytest.raises(WeightsError, match="damaged safetensors"):
        read(tmp_path / "x")


@pytest.mark.parametrize(
    ("form", "kind"), [("safetensors", "safetensors"), ("module", "a whole pickled module"), ("script", "TorchScript")]
)
def test_a_part_of_a_file_without_parts_is_refused(tmp_path, form, kind):
    network, file = torch.nn.Linear(2, 2), tmp_path / "x.pt"
    if form == "safetensors":
        safetensors.torch.save_file(network.state_dict(), file)
    elif form == "module":
        torch.save(network, file)
    else:
        torch.jit.script(network).save(file)
    with pytest.raises(WeightsError, match=f"is {kind}, which has no parts such as 'ema'; leave --key out"):
        read(file, "ema")
