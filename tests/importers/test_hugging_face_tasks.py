"""Hugging Face folders beyond classification: tokens, embeddings, objects, segments, labels that come with the request."""

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from handlers import base
from handlers.request import RawRequest
from importers.__main__ import parser, run
from importers.found import ImportRefused
from model_defs.answer_diff import difference
from model_defs.artifact import Artifact

pytest.importorskip("transformers", reason="make setup EXTRAS=transformers")
SCRIPT = Path(__file__).with_name("hugging_face_tasks_owner.py")
INPUTS = {"tokens": "texts", "embeddings": "texts", "clip": "photos", "yolos": "photos", "segformer": "photos"}
HANDLERS = {
    "tokens": "handlers.tokens.TokenClassifier", "embeddings": "handlers.embeddings.FeatureExtractor",
    "clip": "handlers.zero_shot.ZeroShotImageClassifier", "yolos": "handlers.vision.ObjectDetector",
    "segformer": "handlers.vision.LabelSegmenter",
}  # fmt: skip


@pytest.fixture(scope="session")
def owners(tmp_path_factory):
    """The folder of the owner's script, which ran without the bundle."""
    folder = tmp_path_factory.mktemp("tasks")
    subprocess.run(
        [sys.executable, SCRIPT, folder], cwd=folder, env=os.environ | {"HF_HUB_OFFLINE": "1"}, check=True, capture_output=True
    )
    return folder


@pytest.fixture
def imported(owners, tmp_path):
    def run_import(name: str, *flags: str) -> Artifact:
        labels = ("--labels", str(owners / "labels.txt")) if name == "clip" else ()
        given = ["own", str(owners / name), "--try", str(owners / INPUTS[name]), *labels, *flags]
        return Artifact.read(run(parser().parse_args(given), tmp_path)[0])

    return run_import


@pytest.fixture
def served(imported, owners):
    """Answers a batch of all inputs, and one that cannot be read; by the handler, with parameters."""

    def answer(name: str, **parameters) -> tuple[dict, int]:
        handler = base.load(imported(name).folder, {"class_path": HANDLERS[name]})
        files = sorted((owners / INPUTS[name]).iterdir())
        rows = [RawRequest({"body": as_json(file, parameters)}, content_type="application/json") for file in files]
        *answers, refused = handler.answer([*rows, RawRequest({"body": b"\xff\xfe"})]).answers
        assert all(each.code == 200 for each in answers), answers
        return {file.name: json.loads(each.body) for file, each in zip(files, answers, strict=True)}, refused.code

    return answer


def as_json(file: Path, parameters: dict) -> dict:
    """As huggingface_hub's InferenceClient sends it."""
    payload = file.read_bytes()
    return {"inputs": payload.decode() if file.suffix == ".txt" else base64.b64encode(payload).decode(), "parameters": parameters}


def own(owners: Path, name: str) -> dict:
    return json.loads((owners / f"{name}.json").read_bytes())


def check(given: dict, expected: dict, tolerance: float = 1e-4) -> None:
    assert given.keys() == expected.keys() and expected
    wrong = {file: difference(answer, expected[file], tolerance) for file, answer in given.items()}
    assert not any(wrong.values()), wrong


@pytest.mark.parametrize("name", ["tokens", "embeddings", "clip", "yolos"])
def test_answers_are_those_of_transformers_in_any_batch(served, owners, name):
    given, refused = served(name)
    assert refused == 400
    check(given, own(owners, name))


@pytest.mark.parametrize("name", ["tokens", "embeddings", "clip", "yolos"])
def test_the_import_compares_with_the_owners_answers(imported, owners, name, capsys):
    artifact = imported(name, "--expect", str(owners / f"{name}.json"), "--tolerance", "1e-4")
    assert artifact.data["compared"].startswith(f"with {name}.json: 5 of 5 inputs")
    said = capsys.readouterr().out
    assert "as transformers itself computes them: 5 inputs" in said and "depends on its neighbours" not in said


def test_each_token_can_be_had_by_itself(served, owners):
    given, _ = served("tokens", aggregation_strategy="none")
    check(given, own(owners, "each_token"))
    assert any(entry["entity"].startswith("B-") for answer in given.values() for entry in answer)


def test_labels_and_template_come_with_the_request(served, owners):
    labels = ["a", "some words", "z z z z"]
    expected = own(owners, "clip_others")
    given, _ = served("clip", candidate_labels=labels, hypothesis_template="so {}")
    check(given, expected)
    as_text, _ = served("clip", candidate_labels=", ".join(labels), hypothesis_template="so {}")
    check(as_text, expected)


def test_neighbours_with_other_labels_change_nothing(imported, owners):
    handler = base.load(imported("clip").folder, {"class_path": HANDLERS["clip"]})
    photo = owners / "photos" / "grey.png"
    many = as_json(photo, {"candidate_labels": [f"label {index}" for index in "abcdefgh"]})
    rows = [
        RawRequest({"body": body}, content_type="application/json") for body in (as_json(photo, {}), many, as_json(photo, {}))
    ]
    first, other, last = (json.loads(answer.body) for answer in handler.answer(rows).answers)
    assert len(other) == 8 and len(first) == 3
    assert difference(first, own(owners, "clip")["grey.png"], 1e-4) is None and difference(first, last, 1e-6) is None


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"candidate_labels": []}, "candidate_labels"),
        ({"candidate_labels": [" "]}, "give 1 to 100 labels"),
        ({"candidate_labels": ","}, "give 1 to 100 labels"),
        ({"candidate_labels": ["x"] * 101}, "candidate_labels"),
        ({"candidate_labels": ["x" * 201]}, "candidate_labels"),
        ({"candidate_labels": 3}, "candidate_labels"),
        ({"hypothesis_template": "no place"}, "has no {}, where the label goes"),
        ({"labels": ["x"]}, "no parameter 'labels'"),
    ],
)
def test_wrong_labels_are_refused_alone(imported, owners, parameters, said):
    handler = base.load(imported("clip").folder, {"class_path": HANDLERS["clip"]})
    photo = owners / "photos" / "plain.png"
    rows = [RawRequest({"body": as_json(photo, each)}, content_type="application/json") for each in (parameters, {})]
    wrong, right = handler.answer(rows).answers
    assert wrong.code == 422 and said in json.loads(wrong.body)["message"] and right.code == 200


def test_masks_are_those_of_transformers(served, owners):
    given, _ = served("segformer")
    for file, expected in own(owners, "segformer").items():
        masks = {each["label"]: each["mask"] for each in given[file]}
        assert masks.keys() == expected.keys()
        assert difference(masks, expected, 1e-3) is None
        assert all(0 < each["score"] <= 1 for each in given[file])


def test_a_folder_that_does_not_say_its_pooling_is_refused_with_the_flag(imported, owners, tmp_path):
    modules = owners / "embeddings" / "modules.json"
    text = modules.read_text()
    modules.unlink()
    try:
        with pytest.raises(ImportRefused, match=r"say it: ARGS='--pooling mean', or cls or max"):
            imported("embeddings")
        assert imported("embeddings", "--pooling", "cls").network["init_args"]["pooling"] == "cls"
        modules.write_text(text.replace("Normalize", "Dense"))
        with pytest.raises(ImportRefused, match="Transformer, Pooling, Dense; served are Transformer, Pooling and perhaps"):
            imported("embeddings")
    finally:
        modules.write_text(text)


def test_zero_shot_needs_labels_to_be_tried_with(owners, tmp_path):
    given = ["own", str(owners / "clip"), "--try", str(owners / "photos")]
    with pytest.raises(ImportRefused, match="give some labels, which are used where a request has none: LABELS="):
        run(parser().parse_args(given), tmp_path)


def test_labels_for_numbers_that_are_not_used_get_their_number(imported):
    assert imported("yolos").labels == ["N/A 0", "cat", "N/A 2", "dog"]
