"""handlers/text.py with sequence networks: batches, explanations, and a missing extra."""

import json
import sys

import pytest

from archive.build import build
from handlers.base import load
from handlers.request import RawRequest
from model_defs.build import SpecError

CLASS_PATH = "handlers.text.TextClassifier"
KINDS = ("sequence", "transformer")


@pytest.fixture(params=KINDS)
def texts(request):
    return load(request.getfixturevalue(f"{request.param}_artifact"), {"class_path": CLASS_PATH, "threads": 1})


def asked(handler, *payloads: bytes, explain: bool = False) -> list[tuple[int, dict]]:
    answers = handler.answer([RawRequest({"body": payload}, explain=explain) for payload in payloads]).answers
    return [(answer.code, json.loads(answer.body)) for answer in answers]


def test_bad_texts_of_a_batch_are_refused_alone(texts):
    payloads = [b"a round thing", b"five corners " * 400, b" ", b"round", b"caf\xe9", b"a", b"thing with", b"x" * 100_001]
    answers = asked(texts, *payloads)
    assert [code for code, _ in answers] == [200, 200, 422, 200, 400, 200, 200, 413]
    for payload, (code, body) in zip(payloads, answers, strict=True):
        ((_, alone),) = asked(texts, payload)
        scores = {one["label"]: one["score"] for one in body} if code == 200 else {}
        assert scores == pytest.approx({one["label"]: one["score"] for one in alone} if code == 200 else {}, abs=1e-5)


def test_an_explanation_weighs_every_word(texts):
    ((code, body),) = asked(texts, b"A round thing", explain=True)
    assert code == 200 and [one["word"].lower() for one in body["words"]] == ["a", "round", "thing"]
    assert any(one["weight"] for one in body["words"])


def test_the_samples_get_their_recorded_answers(texts):
    texts.warm_up(3)


@pytest.mark.parametrize("package", ["tokenizers", "transformers"])
def test_a_missing_extra_stops_the_archive_and_the_worker(transformer_artifact, package, monkeypatch, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "{minWorkers: 1, maxWorkers: 1, batchSize: 1, maxBatchDelay: 1, responseTimeout: 30, startupTimeout: 60, "
        f"handler: {{class_path: {CLASS_PATH}}}}}"
    )
    monkeypatch.setitem(sys.modules, package, None)  # Python takes it for a missing module
    said = f"this model needs {package}, which is not installed: make setup EXTRAS=transformers"
    with pytest.raises(SpecError, match=said):
        load(transformer_artifact, {"class_path": CLASS_PATH})
    with pytest.raises(SpecError, match=said):
        build(transformer_artifact, recipe, tmp_path / "store")
    assert not list((tmp_path / "store").glob("*.mar"))
