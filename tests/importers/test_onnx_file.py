"""ONNX files from elsewhere: the answers of the owner's own code, on ONNX Runtime and OpenVINO, without torch's network."""

import io
import json
import zipfile

import pytest
import torch
import yaml
from torch import nn

from archive.build import build
from archive.errors import ArchiveError
from bench import explain_check
from bench.explain_subjects import Asked
from handlers import base
from handlers.request import RawRequest
from handlers.runtimes.runtime import RuntimeUnavailable
from importers.found import ImportRefused
from model_defs.artifact import Artifact
from serving.verify import verify
from tests.importers.conftest import LABELS, own_answers, picture, write_json

onnx = pytest.importorskip("onnx", reason="make setup EXTRAS=onnxruntime")
pytest.importorskip("onnxruntime", reason="make setup EXTRAS=onnxruntime")
HANDLER = {"class_path": "handlers.vision.ImageClassifier"}


class Softmax(nn.Module):
    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network(x).softmax(1)


class LastChannels(Softmax):
    """As networks of TensorFlow take pictures."""

    def forward(self, x):
        return self.network(x.permute(0, 3, 1, 2))


class Bytes(Softmax):
    """With the normalisation inside."""

    def forward(self, x):
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        return self.network((x.float() / 255 - mean.view(3, 1, 1)) / std.view(3, 1, 1))


def exported(file, network: nn.Module, example: torch.Tensor, is_dynamic: bool = True) -> None:
    """As people export: from a trace, with the batch's size left open or not."""
    axes = {"dynamic_axes": {"x": {0: "n"}, "y": {0: "n"}}} if is_dynamic else {}
    torch.onnx.export(network.eval(), example, file, input_names=["x"], output_names=["y"], dynamo=False, **axes)


@pytest.fixture
def exported_model(owner, network):
    def export(made=None, example=None, is_dynamic: bool = True) -> str:
        exported(owner / "model.onnx", made or network, torch.rand(1, 3, 224, 224) if example is None else example, is_dynamic)
        return "model.onnx"

    return export


@pytest.mark.parametrize("kind", ["logits", "softmax", "last channels", "bytes", "one at a time"])
def test_answers_are_those_of_the_owners_own_code(imported, exported_model, owner, network, project, kind, capsys):
    made, example = {
        "softmax": (Softmax(network), None),
        "last channels": (LastChannels(network), torch.rand(1, 224, 224, 3)),
        "bytes": (Bytes(network), torch.randint(0, 256, (1, 3, 224, 224), dtype=torch.uint8)),
    }.get(kind, (network, None))
    source = exported_model(made, example, is_dynamic=kind != "one at a time")
    own = own_answers(network, owner)
    artifact = Artifact.read(imported(source, "--expect", write_json(owner / "own.json", own), "--tolerance", "1e-4"))
    assert artifact.labels == LABELS and not (artifact.folder / "weights.safetensors").exists()
    recipe = yaml.safe_load((project / "archive/recipes/pets.yaml").read_text())
    assert recipe["handler"]["runtime"] == "onnxruntime" and recipe["deviceType"] == "cpu"
    assert recipe["batchSize"] == (1 if kind == "one at a time" else 8)
    said = capsys.readouterr().out
    assert ("its outputs come from a softmax" in said) == (kind == "softmax")
    handler = base.load(artifact.folder, HANDLER | {"runtime": "onnxruntime"})
    files = sorted((owner / "photos").iterdir())
    for file, answer in zip(
        files, handler.answer([RawRequest({"body": file.read_bytes()}) for file in files]).answers, strict=True
    ):
        given = {each["label"]: each["score"] for each in json.loads(answer.body)}
        assert given == pytest.approx(own[file.name], abs=1e-4)


def test_an_archive_needs_no_test_set_on_onnxruntime(imported, exported_model, project):
    folder = imported(exported_model())
    made = build(folder, project / "archive/recipes/pets.yaml", project / "store")
    assert verify(made).origin == "imported, not compared"
    with zipfile.ZipFile(made) as archive:
        assert archive.read("network.onnx") == (folder / "network.onnx").read_bytes()
        archive.extractall(project / "unpacked")
    handler = base.load(project / "unpacked", HANDLER | {"runtime": "onnxruntime"})
    handler.warm_up(4)
    payload = Artifact.read(folder).samples()[0][1]
    form = RawRequest({"data": payload, "method": "deep_lift"}, "multipart/form-data; boundary=x", explain=True)
    answer, refused = handler.answer([RawRequest({"body": payload}, explain=True), form]).answers
    assert answer.code == 200 and json.loads(answer.body)["method"] == "occlusion"  # it needs no gradients
    assert refused.code == 422 and b"take occlusion" in refused.body
    rows, _ = explain_check.check(handler, [Asked("0.png", payload)], ["deep_lift", "occlusion"])
    assert {row.method: row.random_weights for row in rows} == {"random map": None, "occlusion": None}


@pytest.mark.slow
@pytest.mark.parametrize(("runtime", "precision"), [("openvino", "fp32"), ("onnxruntime", "int8")])
def test_class_folders_open_other_runtimes_and_precisions(imported, exported_model, owner, project, runtime, precision):
    pytest.importorskip(runtime, reason=f"make setup EXTRAS={runtime}")
    for index in range(24):
        label = LABELS[index % 3]
        (owner / "classes" / label).mkdir(parents=True, exist_ok=True)
        (owner / "classes" / label / f"{index}.png").write_bytes(picture(index))
    folder = imported(exported_model(), tried="classes")
    recipe = project / "archive/recipes/pets.yaml"
    changed = yaml.safe_load(recipe.read_text())
    changed["handler"] |= {"runtime": runtime, "precision": precision, "metric_loss": 1, "tolerance": 0.01}
    recipe.write_text(yaml.safe_dump(changed))
    made = build(folder, recipe, project / "store")
    with zipfile.ZipFile(made) as archive:
        compared = json.loads(archive.read("comparison.json"))
    assert compared["runtime"] == runtime and compared["held_out"] == 18 and compared["largest_difference"] < 0.5


def test_runtimes_that_need_torchs_network_are_refused(imported, exported_model, project):
    folder = imported(exported_model())
    recipe = project / "archive/recipes/pets.yaml"
    recipe.write_text(recipe.read_text().replace("runtime: onnxruntime", "runtime: torchscript"))
    with pytest.raises(
        RuntimeUnavailable, match="torchscript fp32 cannot run 'pets', an imported model; these can: eager in fp32, onnx"
    ):
        build(folder, recipe, project / "store")
    recipe.write_text(recipe.read_text().replace("runtime: torchscript", "runtime: openvino"))
    with pytest.raises(ArchiveError, match=r"no test\.zip"):
        build(folder, recipe, project / "store")


def test_grey_and_squashed_pictures_follow_the_files_shape(imported, exported_model, owner):
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 3))
    artifact = Artifact.read(imported(exported_model(network, torch.rand(1, 1, 20, 30))))
    sample = artifact.build_transform()((owner / "photos" / "0.png").read_bytes())
    assert sample.shape == (1, 20, 30)


def changed(content: bytes, change) -> bytes:
    model = onnx.load_model_from_string(content)
    change(model)
    return model.SerializeToString()


def outside(model) -> None:
    for tensor in model.graph.initializer:
        tensor.ClearField("raw_data")
        tensor.data_location = 1
        tensor.external_data.add(key="location", value="../../etc/passwd")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda content: b"", "no ONNX file, or one without operations"),
        (lambda content: b"words, no model", "cannot be read"),
        (lambda content: content[: len(content) // 2], "cannot be read"),
        (lambda content: changed(content, outside), "its weights lie in other files; save it as one"),
        (
            lambda content: changed(content, lambda model: setattr(model.graph.node[0], "domain", "own.ops")),
            "it needs operations of its own, of 'own.ops', which nothing here has",
        ),
    ],
    ids=["empty", "words", "half", "outside", "own operations"],
)
def test_a_file_that_cannot_be_served_is_refused_in_one_line(imported, exported_model, owner, change, said):
    file = owner / exported_model(nn.Sequential(nn.Flatten(), nn.Linear(12, 3)), torch.rand(1, 3, 2, 2))
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(ImportRefused, match=said):
        imported("model.onnx")


@pytest.mark.parametrize(
    ("example", "network", "said"),
    [
        (torch.rand(1, 7), nn.Linear(7, 3), r"takes x tensor\(float\) \['n', 7\]; imported are classifiers of pictures"),
        (torch.rand(1, 3, 8, 8), nn.Conv2d(3, 2, 3), r"answers \(1, 2, 6, 6\) of torch.float32 to a picture of 8 x 8 pixels"),
    ],
)
def test_what_is_no_classifier_is_refused(imported, exported_model, example, network, said):
    with pytest.raises(ImportRefused, match=said):
        imported(exported_model(network, example))


def test_the_number_of_labels_is_that_of_the_outputs(imported, exported_model, owner):
    (owner / "classes.txt").write_text("one\ntwo")
    with pytest.raises(ImportRefused, match="2 labels for 3 outputs"):
        imported(exported_model())


def test_a_text_classifier_with_its_tokenizer(project, owner, tmp_path):
    transformers = pytest.importorskip("transformers", reason="make setup EXTRAS=transformers")
    from importers.__main__ import parser, run

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "good", "bad", "day"]
    tokenizer = transformers.BertTokenizer(vocab={word: index for index, word in enumerate(words)}, model_max_length=16)
    small = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "initializer_range": 0.5,
    }
    names = {0: "no", 1: "maybe", 2: "aye"}
    config = transformers.BertConfig(vocab_size=9, **small, id2label=names, label2id={"no": 0, "maybe": 1, "aye": 2})
    torch.manual_seed(0)
    network = transformers.BertForSequenceClassification(config).eval()
    folder = tmp_path / "exported"
    tokenizer.save_pretrained(folder)
    config.save_pretrained(folder)

    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = network

        def forward(self, input_ids, attention_mask, token_type_ids):
            return self.network(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids).logits

    given = ["input_ids", "attention_mask", "token_type_ids"]
    example = tuple(torch.ones(2, 5, dtype=torch.long) for _ in given)
    axes = {name: {0: "n", 1: "t"} for name in given} | {"logits": {0: "n"}}
    torch.onnx.export(
        Plain().eval(),
        example,
        folder / "model.onnx",
        input_names=given,
        output_names=["logits"],
        dynamic_axes=axes,
        dynamo=False,
    )
    (tmp_path / "texts").mkdir()
    own = {}
    for index, text in enumerate(["a good day", "bad", "a bad bad day a good day", "good " * 30]):
        (tmp_path / "texts" / f"{index}.txt").write_text(text)
        with torch.inference_mode():
            scores = network(**tokenizer(text, truncation=True, return_tensors="pt")).logits.softmax(1)[0]
        own[f"{index}.txt"] = dict(zip(names.values(), scores.tolist(), strict=True))
    expect = write_json(tmp_path / "own.json", own)
    flags = ["words", str(folder), "--try", str(tmp_path / "texts"), "--expect", expect, "--tolerance", "1e-4"]
    artifact = Artifact.read(run(parser().parse_args(flags), project)[0])
    assert artifact.labels == ["no", "maybe", "aye"] and artifact.data["compared"].startswith("with own.json: 4 of 4")


def test_the_probe_reads_what_onnx_itself_says(tmp_path):
    from importers.onnx_probe import probe

    file = io.BytesIO()
    exported(file, Softmax(nn.Flatten()), torch.rand(1, 3))
    (tmp_path / "x.onnx").write_bytes(file.getvalue())
    found = probe(tmp_path / "x.onnx")
    assert found["gives_probabilities"] and found["inputs"] == [["x", "tensor(float)", ["n", 3]]]
    assert found["producer"].startswith("pytorch")
