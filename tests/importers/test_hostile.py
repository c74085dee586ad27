"""Mutated and crafted files: nothing of them runs, each is refused in one line or read as data, in bounded time."""

import hashlib
import io
import json
import os
import random
import shutil
import struct
import time
import zipfile
from pathlib import Path

import pytest
import safetensors.torch
import torch

from importers import kinds
from importers.__main__ import parser
from importers.found import Question
from model_defs import weights_file
from model_defs.errors import BundleError
from tests.importers.conftest import write_json

SECONDS = 20
MARK = "/tmp/mark-of-the-hostile-files-of-the-importers"


class Leaves:
    def __reduce__(self):
        return os.mkdir, (MARK,)


@pytest.fixture(autouse=True)
def bounded():
    """Each test ends soon, and no file left its mark."""
    Path(MARK).rmdir() if Path(MARK).exists() else None
    began = time.monotonic()
    yield
    assert time.monotonic() - began < SECONDS and not Path(MARK).exists()


def ask(source: Path, *flags: str) -> None:
    """Look into the source as `make import` does."""
    kinds.find(Question("hostile", source, "", parser().parse_args(["hostile", str(source), *flags])))


def asked(source: Path, *flags: str) -> None:
    """The same; only our own errors may come, in one line for the person."""
    try:
        ask(source, *flags)
    except BundleError as error:
        assert str(error)


def saved() -> bytes:
    file = io.BytesIO()
    torch.save({"state_dict": {"a.weight": torch.ones(4, 3), "a.bias": torch.ones(4)}, "x": Leaves()}, file)
    return file.getvalue()


def mutated(whole: bytes, seed: int) -> bytes:
    """The bytes with some of them flipped, cut out, doubled or cut off."""
    chance, data = random.Random(seed), bytearray(whole)
    for _ in range(chance.choice((1, 3, 20))):
        at = chance.randrange(len(data))
        match chance.randrange(4):
            case 0:
                data[at] ^= 1 << chance.randrange(8)
            case 1:
                del data[at : at + chance.choice((1, 8, 64))]
            case 2:
                data[at:at] = data[at : at + 16]
            case 3:
                data[at : at + 8] = struct.pack("<Q", chance.choice((0, 2**31, 2**63, 2**64 - 1)))
    return bytes(data)


def with_pickle(pickle: bytes) -> bytes:
    """What `torch.save` wrote, with another pickle in it."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(saved())) as source, zipfile.ZipFile(file, "w") as target:
        for name in source.namelist():
            target.writestr(name, pickle if name.endswith("data.pkl") else source.read(name))
    return file.getvalue()


def pickle_of() -> bytes:
    with zipfile.ZipFile(io.BytesIO(saved())) as source:
        return source.read(next(name for name in source.namelist() if name.endswith("data.pkl")))


def read(folder: Path, content: bytes) -> None:
    file = folder / "file.pth"
    file.write_bytes(content)
    try:
        weights_file.read(file)
    except BundleError as error:
        assert str(error)


def test_the_payload_would_leave_its_mark():
    torch.load(io.BytesIO(saved()), weights_only=False)
    assert Path(MARK).exists()
    Path(MARK).rmdir()


@pytest.mark.parametrize("seed", range(30))
def test_a_mutated_zip_is_refused_or_read_as_data(tmp_path, seed):
    read(tmp_path, mutated(saved(), seed))


@pytest.mark.parametrize("seed", range(30))
def test_a_mutated_pickle_is_refused_or_read_as_data(tmp_path, seed):
    read(tmp_path, with_pickle(mutated(pickle_of(), seed)))


@pytest.mark.parametrize("seed", range(20))
def test_mutated_safetensors_are_refused_or_read_as_data(tmp_path, seed):
    read(tmp_path, mutated(safetensors.torch.save({"a": torch.ones(40, 3), "b": torch.ones(4)}), seed))


@pytest.mark.parametrize("seed", range(20))
def test_a_mutated_archive_is_refused_or_taken_apart(tmp_path, seed):
    file = io.BytesIO()
    manifest = {"model": {"modelName": "x", "handler": "handler.py", "serializedFile": "model.pth"}}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("MAR-INF/MANIFEST.json", json.dumps(manifest))
        archive.writestr("handler.py", f"import os; os.mkdir({MARK!r})")
        archive.writestr("model.pth", saved())
    (tmp_path / "old.mar").write_bytes(mutated(file.getvalue(), seed))
    asked(tmp_path / "old.mar")


def trusted(source: Path) -> tuple[str, str]:
    """The flag with which even a hostile archive's code may run."""
    return "--trust", hashlib.sha256(source.read_bytes()).hexdigest()


CUSTOM = [  # (the manifest's section of the model, the other files)
    ({"handler": "handler.py"}, {}),
    ({"handler": "../handler.py"}, {"handler.py": "x = 1"}),
    ({"handler": "handler.py:missing"}, {"handler.py": "x = 1"}),
    ({"handler": "handler.py:x"}, {"handler.py": "x = 1"}),
    ({"handler": "os.py:system"}, {}),
    ({"handler": ":"}, {"handler.py": "x = 1"}),
    ({"handler": "handler.py", "serializedFile": "../x.pth"}, {"handler.py": "x = 1"}),
    ({"handler": "handler.py", "serializedFile": "x.pth"}, {"handler.py": "x = 1"}),
    ({"handler": "handler.py", "serializedFile": ["x"]}, {"handler.py": "x = 1"}),
    ({"handler": "handler.py"}, {"handler.py": "x = 1", "../../evil.py": "y = 1"}),
    ({"handler": "handler.py"}, {"handler.py": "x = 1", "/tmp/evil.txt": "y"}),
    ({"handler": "handler.py"}, {"handler.py": "x = 1", "a\\..\\evil.txt": "y"}),
    ({"handler": "handler.py"}, {"handler.py": "x = 1", "vocab.pkl": "\x80\x04N."}),
    ({"handler": "handler.py"}, {"handler.py": "def"}),
    ({"handler": "handler.py"}, {"handler.py": "\0"}),
    ({"handler": "handler.py"}, {"handler.py": "(" * 5000}),
    ({"handler": "handler.py"}, {"handler.py": "x = 1"} | {f"{number}.txt": "x" for number in range(1100)}),
    ({"handler": "image_segmenter"}, {}),
    ({"handler": "no_such_handler"}, {}),
    ({"handler": "text_classifier"}, {"model.py": "x = 1"}),
]


@pytest.mark.parametrize("number", range(len(CUSTOM)))
def test_a_hostile_archive_with_code_is_refused_also_if_it_is_trusted(tmp_path, number):
    model, files = CUSTOM[number]
    with zipfile.ZipFile(tmp_path / "old.mar", "w") as archive:
        archive.writestr("MAR-INF/MANIFEST.json", json.dumps({"model": model}))
        for name, content in files.items():
            archive.writestr(name, content)
    with pytest.raises(BundleError):
        ask(tmp_path / "old.mar", *trusted(tmp_path / "old.mar"))


@pytest.mark.parametrize("seed", range(20))
def test_a_mutated_archive_with_code_runs_nothing_without_its_digest(tmp_path, seed):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        model = {"modelName": "x", "handler": "handler.py", "serializedFile": "model.pth", "modelFile": "model.py"}
        archive.writestr("MAR-INF/MANIFEST.json", json.dumps({"model": model}))
        archive.writestr("handler.py", f"import os; os.mkdir({MARK!r})")
        archive.writestr("model.py", f"import os; os.mkdir({MARK!r})")
        archive.writestr("model.pth", saved())
    (tmp_path / "old.mar").write_bytes(mutated(file.getvalue(), 100 + seed))
    asked(tmp_path / "old.mar")


def onnx_model() -> bytes:
    onnx = pytest.importorskip("onnx", reason="make setup EXTRAS=onnxruntime")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    weights = helper.make_tensor("w", kind, [12, 3], [0.1] * 36)
    nodes = [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("MatMul", ["f", "w"], ["y"])]
    given = helper.make_tensor_value_info("x", kind, ["n", 3, 2, 2])
    gives = helper.make_tensor_value_info("y", kind, ["n", 3])
    return helper.make_model(helper.make_graph(nodes, "g", [given], [gives], [weights])).SerializeToString()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(16))
def test_a_mutated_onnx_file_is_refused_or_read_as_data(tmp_path, seed):
    (tmp_path / "x.onnx").write_bytes(mutated(onnx_model(), seed))
    (tmp_path / "classes.txt").write_text("a\nb\nc")
    asked(tmp_path / "x.onnx")


def huge(model, helper) -> None:
    """Asks for 4 TiB when it runs."""
    model.graph.node.insert(0, helper.make_node("Expand", ["x", "shape"], ["big"]))
    model.graph.initializer.append(helper.make_tensor("shape", 7, [4], [1 << 40, 3, 2, 2]))
    model.graph.node[1].input[0] = "big"


def endless(model, helper) -> None:
    """A tensor of a shape that would take 2**62 numbers."""
    model.graph.initializer[0].dims[0] = 1 << 60


def pointing(model, helper) -> None:
    model.graph.initializer[0].ClearField("float_data")
    model.graph.initializer[0].data_location = 1
    model.graph.initializer[0].external_data.add(key="location", value="/etc/passwd")


def strange(model, helper) -> None:
    model.graph.node[0].domain = "own.library"


@pytest.mark.slow
@pytest.mark.parametrize("change", [huge, endless, pointing, strange])
def test_a_crafted_onnx_file_is_refused(tmp_path, change):
    onnx = pytest.importorskip("onnx", reason="make setup EXTRAS=onnxruntime")
    model = onnx.load_model_from_string(onnx_model())
    change(model, onnx.helper)
    (tmp_path / "x.onnx").write_bytes(model.SerializeToString())
    (tmp_path / "classes.txt").write_text("a\nb\nc")
    with pytest.raises(BundleError):
        ask(tmp_path / "x.onnx")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A Hugging Face folder with code in it, which transformers would run if it trusted the folder."""
    transformers = pytest.importorskip("transformers", reason="make setup EXTRAS=transformers")
    made = tmp_path_factory.mktemp("hostile") / "bert"
    small = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8, "vocab_size": 9}
    transformers.BertForSequenceClassification(transformers.BertConfig(**small)).save_pretrained(made)
    (made / "modeling.py").write_text(f"import os; os.mkdir({MARK!r})")
    return made


CONFIGS = [
    {"auto_map": {"AutoConfig": "modeling.C", "AutoModelForSequenceClassification": "modeling.M"}},
    {"model_type": "hostile", "auto_map": {"AutoConfig": "modeling.C"}},
    {"model_type": ["bert"]}, {"model_type": "../bert"}, {"model_type": None}, {"architectures": [3]},
    {"architectures": ["os.system"]}, {"architectures": ["BertForSequenceClassification"] * 9}, {"architectures": {}},
    {"num_hidden_layers": 10**12}, {"num_hidden_layers": -1}, {"num_hidden_layers": "many"}, {"num_hidden_layers": [9] * 9},
    {"hidden_size": 10**9}, {"hidden_size": 0}, {"hidden_size": 1.5}, {"vocab_size": 2**62}, {"num_attention_heads": 0},
    {"max_position_embeddings": 10**12}, {"type_vocab_size": -5}, {"hidden_act": "os.system"}, {"hidden_act": ["gelu"]},
    {"id2label": {"0": "a", "x": "b"}}, {"id2label": {"0": ["a"], "1": {}}}, {"id2label": 3},
    {"num_labels": 10**9, "id2label": None},
    {"attn_implementation": "kernels-community/hostile"}, {"_attn_implementation": "no/such:kernel"},
    {"quantization_config": {"quant_method": "hostile"}}, {"dtype": "os.system"}, {"torch_dtype": 3}, {"problem_type": 3},
    {"pad_token_id": 10**9}, {"layer_norm_eps": "x"}, {"initializer_range": -1}, {"chunk_size_feed_forward": 10**9},
]  # fmt: skip


@pytest.mark.parametrize("values", CONFIGS, ids=lambda values: json.dumps(values)[:40])
def test_a_hostile_config_is_refused_or_left_unread(folder, tmp_path, values):
    copy = Path(shutil.copytree(folder, tmp_path / "bert"))
    write_json(copy / "config.json", json.loads((folder / "config.json").read_bytes()) | values)
    asked(copy)


@pytest.mark.parametrize("content", [b"", b"{", b"[" * 99_999, b"3", b"\xff\xfe", b'{"model_type": "bert"}', b"null"])
def test_a_damaged_config_is_refused(folder, tmp_path, content):
    copy = Path(shutil.copytree(folder, tmp_path / "bert"))
    (copy / "config.json").write_bytes(content)
    asked(copy)
