"""Hugging Face folders beyond classification: tokens, embeddings, objects, segments, labels that come with the request."""

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench import explain_check, explain_gallery
from bench.explain_subjects import Asked, asked, inputs, subject_of
from handlers import base
from handlers.request import RawRequest
from importers.__main__ import parser, run
from importers.found import ImportRefused
from model_defs.answer_diff import difference
from model_defs.artifact import Artifact
from model_defs.errors import BundleError
from tests.handlers.explain.asking import explained, good, is_additive, opened, refused

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


# --- explanations


@pytest.fixture
def handler(imported):
    return lambda name: base.load(imported(name).folder, {"class_path": HANDLERS[name], "threads": 1})


def weights(answer: dict) -> list[float]:
    return [word["weight"] for word in answer["words"]]


@pytest.mark.parametrize("method", [None, "integrated_gradients", "shapley_values", "feature_ablation"])
def test_an_entity_is_explained_by_the_words_of_its_text(handler, owners, method):
    tokens, text = handler("tokens"), (owners / "texts" / "0.txt").read_text()
    entities = own(owners, "tokens")["0.txt"]
    best = max(range(len(entities)), key=lambda index: entities[index]["score"])
    answer = good(tokens, text, **({"method": method} if method else {}))
    assert difference({name: answer[name] for name in entities[best]}, entities[best], 1e-4) is None and answer["target"] == best
    assert answer["target_score"] == pytest.approx(entities[best]["score"], abs=1e-4)
    assert [text[word["start"] : word["end"]] for word in answer["words"]] == text.split()
    if method != "feature_ablation":
        assert is_additive(answer, weights(answer), within=0.05 * abs(answer["target_score"]))


def test_each_entity_and_each_label_can_be_the_target(handler, owners):
    tokens, text = handler("tokens"), (owners / "texts" / "0.txt").read_text()
    entities = own(owners, "tokens")["0.txt"]
    last = good(tokens, text, target=len(entities) - 1)
    assert last["score"] == pytest.approx(entities[-1]["score"], abs=1e-4) and last["target"] == len(entities) - 1
    for label in ("PER", "LOC", "B-PER"):
        answer = good(tokens, text, target=label, method="shapley_values")
        assert answer["entity_group"] in label and is_additive(answer, weights(answer))
    assert "is not a label; did you mean 'LOC'" in refused(tokens, text, target="LOK")
    assert "or the index of an entity; found were: " in refused(tokens, text, target=99)
    assert "no parameter 'aggregation_strategy'" in refused(tokens, text, aggregation_strategy="none")
    assert "<span style=" in good(tokens, text, show=True)["html"]


@pytest.mark.parametrize("method", [None, "feature_ablation", "kernel_shap"])
def test_a_label_of_the_request_is_explained_on_the_picture(handler, owners, method):
    photo = (owners / "photos" / "plain.png").read_bytes()
    labels = {"candidate_labels": ["a", "some words", "z z z z"], "hypothesis_template": "so {}"}
    expected = {entry["label"]: entry["score"] for entry in own(owners, "clip_others")["plain.png"]}
    asked = {"show": True} | ({"method": method} if method else {})
    best, other = (good(handler("clip"), photo, **labels, **asked, **target) for target in ({}, {"target": "some words"}))
    assert best["label"] == other["label"] == best["target"] == max(expected, key=expected.get)
    assert other["target"] == "some words" and other["target_score"] == pytest.approx(expected["some words"], abs=1e-4)
    assert opened(best["picture"]).size and best["scale"] > 0


def test_a_zero_shot_explanation_is_refused_for_what_it_does_not_know(handler, owners):
    clip, photo = handler("clip"), (owners / "photos" / "plain.png").read_bytes()
    assert "target 'a cow' is not a label" in refused(clip, photo, target="a cow")
    assert "candidate_labels" in refused(clip, photo, candidate_labels=[])
    assert "'occlusion'" in refused(clip, photo, method="deep_lift")


@pytest.mark.parametrize("method", [None, "integrated_gradients", "shapley_values", "feature_ablation"])
def test_the_similarity_of_two_texts_is_explained_by_the_words_of_the_first(handler, owners, method):
    embeddings, text = handler("embeddings"), (owners / "texts" / "0.txt").read_text()
    asked = {"method": method} if method else {}
    same, other = (good(embeddings, text, target=target, **asked) for target in (text, "and in paris"))
    assert same["similarity"] == pytest.approx(1, abs=1e-5) and other["similarity"] < 0.999 and other["target"] == "and in paris"
    assert [word["word"] for word in other["words"]] == text.split() and any(weights(other))
    if method != "feature_ablation":
        assert is_additive(other, weights(other), within=0.05)


def test_a_vector_alone_has_nothing_to_explain_and_says_what_has(handler):
    code, body = explained(handler("embeddings"), "anna lives")
    assert code == 422 and "the similarity of two texts can be: send the other as 'target'" in body["message"]


# --- how faithful they are


@pytest.mark.parametrize(
    ("name", "method"), [("tokens", "shapley_values"), ("embeddings", "integrated_gradients"), ("clip", "occlusion")]
)
def test_explain_check_measures_what_was_imported_without_a_test_set(handler, tmp_path, name, method):
    loaded = handler(name)
    where, given = inputs(loaded, None, 3)
    rows, _ = explain_check.check(loaded, given, [method])
    assert "samples" in where and {row.method for row in rows} == {"random map", method}
    assert all(row.inputs for row in rows) and all(-1 <= row.random_weights <= 1 for row in rows if row.method == method)
    assert len(explain_gallery.write(loaded, given, tmp_path / "drawn", 2)) == 2


def test_a_text_is_compared_with_the_one_most_like_it(handler):
    texts = [b"anna lives in paris", b"paris paris", b"anna lives in parisian paris"]
    given = asked(handler("embeddings"), [(f"{index}.txt", text) for index, text in enumerate(texts)])
    assert given[0].parameters == {"target": texts[2].decode()} and given[2].parameters == {"target": texts[0].decode()}


def test_explain_check_has_no_gradients_for_labels_of_the_request(handler, owners):
    given = [Asked("plain.png", (owners / "photos" / "plain.png").read_bytes())]
    with pytest.raises(BundleError, match="no method 'integrated_gradients, unsigned' for own; it has feature_abl"):
        explain_check.check(handler("clip"), given, [explain_check.UNSIGNED])


def test_inputs_in_which_nothing_is_found_are_said(handler, owners):
    yolos, empty = handler("yolos"), Asked("grey.png", (owners / "photos" / "grey.png").read_bytes())
    assert own(owners, "yolos")["grey.png"] == [] and subject_of(yolos, empty) is None
    with pytest.raises(BundleError, match="finds nothing in these 1 inputs to explain; give others: --try folder"):
        explain_check.check(yolos, [empty], None)
