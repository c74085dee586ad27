"""Clients of other projects, unchanged, against a real server: kserve, Triton's, an older Hugging Face client, schemathesis.

They run in an environment of their own, `.venv-clients`, which `make setup EXTRAS=clients` makes: kserve needs an older
huggingface_hub than the rest.
"""

import json
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from serving.describe import description
from serving.openapi import document
from tests.other_clients import BIN, ask

pytestmark = [pytest.mark.server, pytest.mark.slow]
TEXT = "wake me at seven"


@pytest.fixture
def file(bundle):
    """The path of a model's first sample."""
    return lambda model: bundle.artifacts / model / "samples" / bundle.samples(model)[0][0]["file"]


def native(bundle, model: str, body: bytes) -> tuple[list[str], list[float]]:
    answer = bundle.predict(model, body).json()
    return [entry["label"] for entry in answer], pytest.approx([entry["score"] for entry in answer], abs=1e-6)


def written(bundle, folder: Path) -> Path:
    """The OpenAPI document of the server's models, in a file."""
    models = [description(bundle.store / f"{name}-1.0.mar") for name in ("digits", "intents")]
    (folder / "api.json").write_text(json.dumps(document(models, bundle.client.server.inference)))
    return folder / "api.json"


def test_kserves_client_speaks_v1_and_v2(bundle, file):
    found = ask("ask_kserve.py", bundle.client.server.inference, bundle.key, file("digits"), TEXT)
    labels, scores = native(bundle, "intents", TEXT.encode())
    answered, refused = found["v1"]["predictions"]
    assert [entry["label"] for entry in answered] == labels and [entry["score"] for entry in answered] == scores
    assert refused["error"]["code"] == 422
    assert found["v1_explain"]["explanations"][0]["words"]
    assert found["v2"]["labels"] == [labels, labels] and found["v2"]["scores"] == [scores, scores]
    assert found["v2_binary"]["labels"] == [native(bundle, "digits", file("digits").read_bytes())[0]]
    for name in ("v1_refused", "v2_refused"):
        status, message = found[name]
        assert status == 422 and message.startswith("the text is empty"), found[name]


def test_tritons_client_sends_and_gets_binary_tensors(bundle, file):
    found = ask("ask_triton.py", urlsplit(bundle.url("x")).netloc, bundle.key, file("digits"), TEXT)
    labels, scores = native(bundle, "intents", TEXT.encode())
    digits, _ = native(bundle, "digits", file("digits").read_bytes())
    assert found["picture"]["labels"] == [digits]
    assert found["texts"]["scores"] == [scores, scores] and found["texts"]["labels"] == [labels, labels]
    assert found["gzip"]["labels"] == [labels[:2]] and found["id"] == "7"
    assert found["some"]["labels"] == [labels, [""] * 5] and json.loads(found["some"]["errors"][1])["code"] == 422
    for name, status, said in [
        ("empty", "422", "the text is empty"),
        ("priority", "422", "no parameter 'priority'"),
        ("output", "422", "this model gives no tensor 'boxes'"),
        ("class_count", "422", "the parameter 'classification'"),
        ("unknown", "404", "nothing"),
    ]:
        assert found[name][0] == status and said in found[name][1], (name, found[name])


def test_an_older_hugging_face_client_is_answered_the_same(bundle, file):
    found = ask("ask_hub.py", bundle.url(""), bundle.key, file("digits"), file("sounds"), TEXT)
    assert found["version"].startswith("0.")
    assert found["picture"] == native(bundle, "digits", file("digits").read_bytes())[0][:3]
    assert found["sound"] == native(bundle, "sounds", file("sounds").read_bytes())[0][:2]
    assert found["text"] == native(bundle, "intents", TEXT.encode())[0][:4]


def test_the_openapi_document_is_valid(bundle, tmp_path):
    validator = "openapi-spec-validator"
    if not (BIN / validator).exists():
        pytest.skip("no .venv-clients: make setup EXTRAS=clients")
    api = written(bundle, tmp_path)
    done = subprocess.run([BIN / validator, api], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.timeout(900)
def test_schemathesis_plays_the_openapi_document_without_a_5xx(bundle, tmp_path):
    if not (BIN / "schemathesis").exists():
        pytest.skip("no .venv-clients: make setup EXTRAS=clients")
    api = written(bundle, tmp_path)
    whole = json.loads(api.read_text())
    for operations in whole["paths"].values():  # a form's field without a name gets 500 from TorchServe's HTTP library
        operations.get("post", {}).get("requestBody", {}).get("content", {}).pop("multipart/form-data", None)
    api.write_text(json.dumps(whole))
    checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
    done = subprocess.run(
        [
            *(BIN / "schemathesis", "run", api, "--url", bundle.client.server.inference),
            *("-H", f"Authorization: Bearer {bundle.key}", "--checks", checks, "--max-examples", "8", "--seed", "1"),
            *("--phases", "examples,coverage,fuzzing", "--no-shrink", "--max-time", "120"),
            *("--request-timeout", "60", "--no-color"),
        ],
        capture_output=True, text=True, timeout=800, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, "".join(done.stdout.partition("= FAILURES")[1:])[:8_000] + done.stderr[-2_000:]
