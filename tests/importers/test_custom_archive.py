"""Archives with a handler of their own: nothing runs without the digest; with it the answers are those of TorchServe's loader."""

import hashlib
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from archive.build import build
from handlers import base
from handlers.request import RawRequest
from importers.found import ImportRefused
from model_defs.answer_diff import difference
from model_defs.artifact import Artifact
from serving.verify import verify
from tests.importers.conftest import LABELS, write_json

MODEL = """
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 3))

    def forward(self, x):
        return 9 * self.net(x)
"""
HANDLER = """
import io, json, os
import torch
from PIL import Image
from torchvision import transforms
from ts.torch_handler.base_handler import BaseHandler
import extra_words


class Pets(BaseHandler):
    read = transforms.Compose([transforms.Resize(40), transforms.CenterCrop(32), transforms.ToTensor()])

    def initialize(self, context):
        super().initialize(context)
        folder = context.system_properties["model_dir"]
        self.greeting = open(os.path.join(folder, "greeting.txt")).read().strip()
        assert os.path.isfile(os.path.join(folder, self.manifest["model"]["serializedFile"]))

    def preprocess(self, data):
        rows = [row.get("data") or row.get("body") for row in data]
        return torch.stack([self.read(Image.open(io.BytesIO(row)).convert("RGB")) for row in rows])

    def postprocess(self, data):
        best = data.softmax(1).max(1)
        return [
            {"says": self.greeting, "name": self.mapping[str(index)], "score": score, "word": extra_words.WORD}
            for index, score in zip(best.indices.tolist(), best.values.tolist())
        ]
"""
WHOLE = (
    HANDLER
    + """
    def handle(self, data, context):
        return [json.dumps({"size": len(row["body"]), "answer": self.postprocess(self.inference(self.preprocess([row])))[0]})
                for row in data]
"""
)
FUNCTION = """
import json

network = None


def initialize(context):
    global network
    network = context.system_properties["model_dir"]


def handle(data, context):
    if data[0]["body"].startswith(b"bad"):
        context.set_response_status(422, "a bad word", 0)
        return ["-"]
    return ["plain words"]
"""
OWNER = """
import json, logging, sys, zipfile
from pathlib import Path
from ts.context import RequestProcessor
from ts.model_loader import TsModelLoader

logging.disable(logging.CRITICAL)
archive, folder, out, *files = sys.argv[1:]
zipfile.ZipFile(archive).extractall(folder)
sys.path.insert(0, folder)
manifest = json.loads(Path(folder, "MAR-INF/MANIFEST.json").read_text())
service = TsModelLoader().load("old", folder, manifest["model"]["handler"], None, 1)
service.context.model_yaml_config, service.context.request_processor = {}, [RequestProcessor({})]
service.context.metrics = type("M", (), {"__getattr__": lambda *_: lambda *a, **k: None})()
answers = {}
for file in files:
    (answer,) = service._entry_point([{"body": bytearray(Path(file).read_bytes())}], service.context)
    answers[Path(file).name] = json.loads(answer) if isinstance(answer, str) else answer
Path(out).write_text(json.dumps(answers))
"""
CLASS = {"class_path": "handlers.legacy_custom.CustomHandler"}


@pytest.fixture
def packed(owner):
    """Makes an archive as its owner did, by torch-model-archiver; returns its name and the digest that the refusal asks for."""
    names: dict = {"__name__": "model"}
    exec(MODEL, names)
    torch.manual_seed(0)
    torch.save(names["Net"]().state_dict(), owner / "net.pth")
    (owner / "model.py").write_text(MODEL)
    (owner / "extra_words.py").write_text("WORD = 'hello'\n")
    (owner / "greeting.txt").write_text("it is\n")
    write_json(owner / "index_to_name.json", dict(zip("012", LABELS, strict=True)))

    def pack(
        code: str = HANDLER, weights: str | None = "net.pth", handler: str = "handler.py", model: bool = True
    ) -> tuple[str, str]:
        (owner / "handler.py").write_text(code)
        command = [sys.executable, "-m", "model_archiver.model_packaging", "--model-name", "old", "--version", "1.0", "--force"]
        files = ",".join(str(owner / file) for file in ("index_to_name.json", "extra_words.py", "greeting.txt"))
        command += ["--handler", owner / handler if handler == "handler.py" else handler, "--extra-files", files]
        command += ["--serialized-file", owner / weights] if weights else []
        command += ["--model-file", owner / "model.py"] if model else []
        subprocess.run([*command, "--export-path", owner], check=True, capture_output=True, cwd=owner)
        return "old.mar", hashlib.sha256((owner / "old.mar").read_bytes()).hexdigest()[:12]

    return pack


def owners_answers(owner: Path, tmp_path: Path) -> dict:
    """What TorchServe's own loader and the old handler answer, in a process without the bundle."""
    files = sorted(str(file) for file in (owner / "photos").iterdir())
    (tmp_path / "owner.py").write_text(OWNER)
    command = [sys.executable, tmp_path / "owner.py", owner / "old.mar", tmp_path / "unpacked", tmp_path / "own.json", *files]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=tmp_path)
    assert not done.returncode, done.stderr
    return json.loads((tmp_path / "own.json").read_text())


def test_nothing_runs_without_the_digest(imported, packed, owner, project):
    _, digest = packed(f"import os\nos.mkdir({str(owner / 'mark')!r})\n" + HANDLER)
    said = (
        rf"handler\.py is code, .*extra_words\.py, handler\.py, model\.py \(\d+ lines\), which imports PIL, .*--trust {digest}'"
    )
    with pytest.raises(ImportRefused, match=said):
        imported("old.mar")
    with pytest.raises(ImportRefused, match=f"--trust 0123456789ab is not its digest; .*--trust {digest}"):
        imported("old.mar", "--trust", "0123456789ab")
    with pytest.raises(ImportRefused, match="is not its digest"):
        imported("old.mar", "--trust", digest[:11])
    assert not (owner / "mark").exists() and not (project / "artifacts").exists()


def test_an_explanation_is_refused_with_what_gives_one(imported, packed, owner):
    source, digest = packed()
    handler = base.load(imported(source, "--trust", digest), CLASS)
    payload = (owner / "photos" / "0.png").read_bytes()
    explanation, prediction = handler.answer([RawRequest({"body": payload}, explain=True), RawRequest({"body": payload})]).answers
    assert explanation.code == 501 and prediction.code == 200
    assert "its network alone, imported with its labels, gives explanations" in json.loads(explanation.body)["message"]


@pytest.mark.parametrize("code", [HANDLER, WHOLE], ids=["methods", "handle"])
def test_answers_are_those_of_torchserves_loader(imported, packed, owner, tmp_path, code):
    source, digest = packed(code)
    own = owners_answers(owner, tmp_path)
    folder = imported(source, "--trust", digest, "--expect", write_json(owner / "own_answers.json", own), "--tolerance", "1e-5")
    artifact = Artifact.read(folder)
    assert artifact.data["compared"].startswith("with own_answers.json: 3 of 3 inputs")
    handler = base.load(folder, CLASS)
    files = sorted((owner / "photos").iterdir())
    given = handler.answer([RawRequest({"body": file.read_bytes()}) for file in files]).answers
    for file, answer in zip(files, given, strict=True):
        assert answer.code == 200 and difference(json.loads(answer.body), own[file.name], 1e-5) is None


@pytest.mark.parametrize("code", [HANDLER, WHOLE], ids=["methods", "handle"])
def test_one_bad_input_of_eight_is_refused_alone(imported, packed, owner, code):
    """With TorchServe and the same archive, all eight fail."""
    source, digest = packed(code)
    handler = base.load(imported(source, "--trust", digest), CLASS)
    good = (owner / "photos" / "0.png").read_bytes()
    bodies = [good] * 3 + [good[:200]] + [good] * 3 + [b""]
    codes = [answer.code for answer in handler.answer([RawRequest({"body": body}) for body in bodies]).answers]
    assert codes == [200] * 3 + [400] + [200] * 3 + [400]


def test_a_form_and_a_body_are_the_same_input(imported, packed, owner):
    source, digest = packed()
    handler = base.load(imported(source, "--trust", digest), CLASS)
    good = (owner / "photos" / "0.png").read_bytes()
    form = RawRequest({"data": bytearray(good), "note": b"x"}, content_type="multipart/form-data; boundary=x")
    one, other = handler.answer([RawRequest({"body": good}), form]).answers
    assert one.code == other.code == 200 and one.body == other.body


def test_the_archive_holds_no_pickle_and_passes_every_check(imported, packed, project, owner):
    source, digest = packed()
    folder = imported(source, "--trust", digest)
    made = build(folder, project / "archive/recipes/pets.yaml", project / "store")
    verified = verify(made)
    assert verified.origin == "imported, not compared"
    with zipfile.ZipFile(made) as archive:
        names = archive.namelist()
        code = [name for name in names if name.startswith("model_defs/own/")]
        assert {"model_defs/own/pets/handler.py", "model_defs/own/pets/model.py"} < {*code} and "weights.safetensors" in names
        archive.extractall(project / "unpacked")
    handler = base.load(project / "unpacked", CLASS)
    handler.warm_up(4)
    assert torch.load.__module__ == "model_defs.legacy_context"  # nothing that the handler calls unpickles


def test_a_function_is_a_handler_and_its_own_status_reaches_the_caller(imported, packed, owner):
    source, digest = packed(FUNCTION, handler="handler.py")
    (owner / "photos" / "0.png").rename(owner / "photos" / "0.txt")
    handler = base.load(imported(source, "--trust", digest), CLASS)
    good, bad = handler.answer([RawRequest({"body": b"words"}), RawRequest({"body": b"bad words"})]).answers
    assert json.loads(good.body) == "plain words" and good.code == 200
    assert bad.code == 422 and json.loads(bad.body)["message"] == "a bad word"


def test_torchserves_segmenter_runs_with_the_archives_network(imported, packed, owner):
    code = MODEL.replace("return 9 * self.net(x)", "return {'out': x[:, :2] * self.net(x).mean()}")
    (owner / "model.py").write_text(code)
    source, digest = packed(handler="image_segmenter")
    (owner / "model.py").write_text(code)
    source, digest = packed(handler="image_segmenter")
    with pytest.raises(ImportRefused, match="its handler image_segmenter is code"):
        imported(source)
    (sample, _), *_ = Artifact.read(imported(source, "--trust", digest)).samples()
    assert len(sample.answer) == 224 and len(sample.answer[0]) == 224 and len(sample.answer[0][0]) == 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda owner, net: torch.save(net, owner / "net.pth"), "an object of .*Linear, which would have to be unpickled"),
        (
            lambda owner, net: torch.jit.script(torch.nn.Linear(2, 2)).save(owner / "net.pth"),
            "is TorchScript, which is code; save it",
        ),
        (lambda owner, net: (owner / "net.pth").write_bytes(b"words"), "is not a file of weights"),
        (lambda owner, net: (owner / "greeting.txt").write_bytes(b"\x80\x04N."), "greeting.txt is a pickle or an archive itself"),
        (
            lambda owner, net: (owner / "extra_words.py").write_text("import no_such_package_x"),
            "imports no_such_package_x, which is not",
        ),
        (lambda owner, net: (owner / "extra_words.py").write_text("class"), "its code is no Python"),
    ],
    ids=["module", "TorchScript", "no weights", "pickle", "missing package", "no Python"],
)
def test_what_cannot_be_taken_is_refused_with_the_way_out(imported, packed, owner, change, said):
    packed()
    change(owner, torch.nn.Linear(2, 2))
    (owner / "old.mar").unlink()
    with zipfile.ZipFile(owner / "old.mar", "w") as archive:
        model = {"modelName": "old", "handler": "handler.py", "serializedFile": "net.pth", "modelFile": "model.py"}
        archive.writestr("MAR-INF/MANIFEST.json", json.dumps({"model": model}))
        for name in ("handler.py", "model.py", "net.pth", "extra_words.py", "greeting.txt", "index_to_name.json"):
            archive.write(owner / name, name)
    digest = hashlib.sha256((owner / "old.mar").read_bytes()).hexdigest()[:12]
    with pytest.raises(ImportRefused, match=said):
        imported("old.mar", "--trust", digest)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (HANDLER.replace("super().initialize(context)", "1 / 0"), "the old handler fails to start: ZeroDivisionError"),
        (HANDLER.replace("return [\n", "return 2 * [\n"), "gives 2 answers for a list with one input"),
        (HANDLER + "\n\nclass Other:\n    pass\n", "has no function 'handle', and 2 classes, where TorchServe wants one"),
        (
            HANDLER.replace("super().initialize(context)", "torch.load('/etc/hostname')"),
            "no file of weights of the archive; nothing else is unpickled",
        ),
        (HANDLER.replace('"score": score', '"score": b"x"'), "the old handler's answer is no JSON"),
    ],
)
def test_a_handler_that_fails_is_refused_in_one_line(imported, packed, code, said):
    source, digest = packed(code)
    with pytest.raises(ImportRefused, match=re.escape(said)):
        imported(source, "--trust", digest)


def test_a_handler_whose_rows_cannot_be_put_together_gets_batches_of_one(imported, packed, project, capsys):
    source, digest = packed(HANDLER.replace("return torch.stack(", "return iter("))
    with pytest.raises(ImportRefused):
        imported(source, "--trust", digest)
    loud = (
        HANDLER
        + "\n    def inference(self, data):\n        data = super().inference(data)\n        return 3 * data / data.abs().max()\n"
    )
    source, digest = packed(loud)
    imported(source, "--trust", digest)
    assert "the recipe says batchSize: 1" in capsys.readouterr().out
