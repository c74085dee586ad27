"""A Hugging Face folder: the labels in their own order, and the answers of the owner's own `pipeline`."""

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch
from PIL import Image

from handlers import base
from handlers.request import RawRequest
from importers.__main__ import parser, run
from importers.found import ImportRefused
from model_defs.artifact import Artifact
from model_defs.build import SpecError
from tests.importers.hugging_face_owner import ID2LABEL

pytest.importorskip("transformers", reason="make setup EXTRAS=transformers")
SCRIPT = Path(__file__).with_name("hugging_face_owner.py")
INPUTS = {"vit": "photos", "resnet": "photos", "convnext": "photos", "bert": "texts", "distilbert": "texts", "roberta": "texts",
          "wav2vec2": "sounds", "ast": "sounds"}  # fmt: skip
HANDLERS = {"photos": "handlers.vision.ImageClassifier", "texts": "handlers.text.TextClassifier",
            "sounds": "handlers.audio.AudioClassifier"}  # fmt: skip


@pytest.fixture(scope="session")
def owners(tmp_path_factory):
    """The folder of the owner's script, which ran without the bundle."""
    folder = tmp_path_factory.mktemp("owners")
    subprocess.run(
        [sys.executable, SCRIPT, folder], cwd=folder, env=os.environ | {"HF_HUB_OFFLINE": "1"}, check=True, capture_output=True
    )
    return folder


@pytest.fixture
def copied(owners, tmp_path):
    """A copy of an owner's folder that a test may change."""

    def copy(name: str) -> Path:
        return Path(shutil.copytree(owners / name, tmp_path / name))

    return copy


@pytest.fixture
def imported_folder(owners, project):
    def run_import(source: str | Path, kind: str = "", *flags: str) -> Artifact:
        tried = owners / INPUTS.get(str(source), kind)
        return Artifact.read(run(parser().parse_args(["own", str(owners / source), "--try", str(tried), *flags]), project)[0])

    return run_import


@pytest.mark.parametrize("name", INPUTS)
def test_answers_are_those_of_the_owners_pipeline(imported_folder, owners, name, capsys):
    artifact = imported_folder(name, "", "--expect", str(owners / f"{name}.json"), "--tolerance", "1e-4")
    assert artifact.labels == list(ID2LABEL.values())
    count = len(list((owners / INPUTS[name]).iterdir()))
    assert artifact.data["compared"].startswith(f"with {name}.json: {count} of {count} inputs")
    said = capsys.readouterr().out
    assert f"as transformers itself computes them: {count} inputs" in said and "its 'id2label', in its order" in said
    assert "depends on its neighbours" not in said


@pytest.mark.parametrize("name", ["vit", "roberta", "wav2vec2"])
def test_the_handler_answers_so_in_any_batch(imported_folder, owners, name):
    own = json.loads((owners / f"{name}.json").read_bytes())
    handler = base.load(imported_folder(name).folder, {"class_path": HANDLERS[INPUTS[name]]})
    payloads = {file.name: file.read_bytes() for file in sorted((owners / INPUTS[name]).iterdir())}
    rows = [RawRequest({"body": payload}) for payload in (*payloads.values(), b"\xff\xfe")]
    *answers, refused = handler.answer(rows).answers
    assert refused.code == 400
    for file, answer in zip(payloads, answers, strict=True):
        given = {each["label"]: each["score"] for each in json.loads(answer.body)}
        assert given == pytest.approx(own[file], abs=1e-4)


@pytest.mark.parametrize(
    ("name", "evidence"),
    [("vit", "heatmap"), ("bert", "words"), pytest.param("wav2vec2", "moments", marks=pytest.mark.slow)],
)
def test_an_explanation_needs_nothing_more(imported_folder, owners, name, evidence):
    handler = base.load(imported_folder(name).folder, {"class_path": HANDLERS[INPUTS[name]]})
    payload = next((owners / INPUTS[name]).iterdir()).read_bytes()
    (answer,) = handler.answer([RawRequest({"body": payload}, explain=True)]).answers
    assert answer.code == 200 and json.loads(answer.body)[evidence]


def test_a_sharded_folder_is_read_whole(imported_folder, copied):
    folder = copied("bert")
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    parts = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for part, inside in parts.items():
        safetensors.torch.save_file({name: tensors[name] for name in inside}, folder / part)
    weight_map = {name: part for part, inside in parts.items() for name in inside}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    assert imported_folder(folder, "texts").samples() == imported_folder("bert").samples()
    (folder / "b.safetensors").unlink()
    with pytest.raises(ImportRefused, match=r"names b\.safetensors, which is not there; copy the whole folder"):
        imported_folder(folder, "texts")
    weight_map["x"] = "../bert/a.safetensors"
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    with pytest.raises(ImportRefused, match="does not name files of this folder"):
        imported_folder(folder, "texts")


def test_a_pickle_of_weights_is_read_and_not_run(imported_folder, copied, tmp_path):
    mark = tmp_path / "mark"

    class Leaves:
        def __reduce__(self):
            return Path.touch, (mark,)

    folder = copied("distilbert")
    state = torch.load(folder / "pytorch_model.bin", weights_only=True)
    torch.save({"state_dict": state, "x": Leaves()}, folder / "pytorch_model.bin")
    assert imported_folder(folder, "texts").labels == list(ID2LABEL.values()) and not mark.exists()


def changed(folder: Path, **values) -> Path:
    config = json.loads((folder / "config.json").read_bytes()) | values
    (folder / "config.json").write_text(json.dumps({name: value for name, value in config.items() if value != "left out"}))
    return folder


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"architectures": ["BertForMaskedLM"]}, "BertForMaskedLM of model_type 'bert' is not served; served are ForAudio"),
        ({"architectures": "left out"}, "'architectures' does not name one class"),
        ({"auto_map": {"AutoModel": "modeling.Own"}}, "needs Python code of its own, which is not run"),
        ({"quantization_config": {"bits": 4}}, "the model is quantized"),
        ({"problem_type": "multi_label_classification"}, "multi_label_classification with 3 outputs; served is one label out"),
        ({"id2label": {"0": "a", "1": "b"}}, r"classifier\.bias is \[3\], not \[2\], and 1 more"),
        ({"id2label": {"0": "a", "1": "b", "2": "a"}}, "the label 'a' is there twice"),
        ({"num_hidden_layers": 3}, r"is missing, and \d+ more"),
        ({"num_hidden_layers": 1}, r"bert\.encoder\.layer\.1\..* is left over, and \d+ more"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers is 1,000,000,000, and the weights are 41 tensors"),
        ({"vocab_size": 10**9}, "describes a network of .* numbers; the weights have far fewer"),
        ({"hidden_size": -1}, "bert"),
        ({"hidden_act": "no such"}, "no transformer can be made"),
    ],
)  # fmt: skip
def test_a_config_that_is_not_the_models_is_refused(imported_folder, copied, values, said):
    with pytest.raises((ImportRefused, SpecError), match=said):
        imported_folder(changed(copied("bert"), **values), "texts")


def test_labels_of_ones_own_replace_those_of_the_config(imported_folder, tmp_path):
    (tmp_path / "own.txt").write_text("z\ny\nx")
    assert imported_folder("bert", "", "--labels", str(tmp_path / "own.txt")).labels == ["z", "y", "x"]


def test_how_pictures_are_read_is_a_flag_and_the_refusal_names_it(imported_folder, owners, tmp_path):
    own = json.loads((owners / "vit.json").read_bytes())
    with pytest.raises(ImportRefused, match=r"with ARGS='--upright' the answers are the same"):
        imported_folder("vit", "", "--expect", str(owners / "vit.json"), "--no-upright", "--tolerance", "1e-4")
    artifact = imported_folder("vit", "", "--backend", "pil")
    payload = (owners / "photos" / "turned.jpg").read_bytes()
    pixels = artifact.build_transform()(payload)
    upright = Image.open(io.BytesIO(payload)).transpose(Image.Transpose.ROTATE_270).convert("RGB")
    expected = torch.frombuffer(bytearray(upright.resize((32, 32), Image.Resampling.BILINEAR).tobytes()), dtype=torch.uint8)
    assert torch.equal(pixels.permute(1, 2, 0).flatten(), expected) and "turned.jpg" in own


def test_a_folder_without_a_tokenizer_is_refused(imported_folder, copied):
    """transformers makes a tokenizer of an empty folder, for which every word is unknown."""
    folder = copied("bert")
    for file in folder.glob("tok*"):
        file.unlink()
    with pytest.raises(ImportRefused, match=r"bert has no tokenizer, none of tokenizer\.json, .*; copy them from where"):
        imported_folder(folder, "texts")


@pytest.mark.parametrize("change", [{"vocab_size": "abc"}, {"hidden_size": 12.5}])
def test_a_config_with_a_value_of_another_type_is_one_line(imported_folder, copied, change):
    config = copied("bert") / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | change))
    with pytest.raises(ImportRefused, match=rf"cannot be read by transformers .*'{next(iter(change))}' expected int"):
        imported_folder(config.parent, "texts")


def test_a_folder_needs_no_name_of_a_network(imported_folder):
    with pytest.raises(ImportRefused, match=r"--network is for a file of weights, and FROM=.* is a folder"):
        imported_folder("bert", "", "--network", "resnet18")


def test_a_flag_of_another_kind_is_refused(imported_folder):
    with pytest.raises(ImportRefused, match="--resize means nothing to this model of texts, which takes LABELS; leave it out"):
        imported_folder("bert", "", "--resize", "256")
