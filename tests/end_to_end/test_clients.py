"""Clients of others, unchanged: curl and the Hugging Face client."""

import json
import subprocess

import pytest
from huggingface_hub import InferenceClient

pytestmark = pytest.mark.server


@pytest.fixture
def client_of(bundle):
    return lambda model: InferenceClient(model=bundle.url(model), token=bundle.key)


def test_hugging_face_classifies_a_picture(bundle, client_of, tmp_path):
    sample, payload = bundle.samples("digits")[0]
    (tmp_path / "picture.png").write_bytes(payload)
    answers = client_of("digits").image_classification(str(tmp_path / "picture.png"), top_k=3)
    assert answers[0].label == sample["answer"][0]["label"] and len(answers) == 3


def test_hugging_face_classifies_a_sound(bundle, client_of):
    sample, payload = bundle.samples("sounds")[0]
    answers = client_of("sounds").audio_classification(payload, top_k=2)
    assert answers[0].label == sample["answer"][0]["label"] and len(answers) == 2


def test_hugging_face_classifies_a_text(bundle, client_of):
    sample, payload = bundle.samples("intents")[0]
    answers = client_of("intents").text_classification(payload.decode(), top_k=4)
    assert answers[0].label == sample["answer"][0]["label"] and len(answers) == 4
    assert answers[0].score == pytest.approx(sample["answer"][0]["score"], abs=1e-3)


@pytest.mark.parametrize("model", ["digits", "sounds", "intents"])
def test_curl_sends_a_file(bundle, model):
    sample, _ = bundle.samples(model)[0]
    file = bundle.artifacts / model / "samples" / sample["file"]
    headers = ["-H", "Content-Type: text/plain; charset=utf-8"] if model == "intents" else []
    command = ["curl", "-sS", "-H", f"@{bundle.header_file}", *headers, "-T", file, bundle.url(model)]
    answer = subprocess.run(command, capture_output=True, check=True, timeout=30).stdout
    assert json.loads(answer)[0]["label"] == sample["answer"][0]["label"]


def test_curl_sends_a_form(bundle):
    sample, _ = bundle.samples("digits")[0]
    file = bundle.artifacts / "digits" / "samples" / sample["file"]
    command = ["curl", "-sS", "-H", f"@{bundle.header_file}", "-F", f"data=@{file}", "-F", "top_k=1", bundle.url("digits")]
    answer = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=30).stdout)
    assert [entry["label"] for entry in answer] == [sample["answer"][0]["label"]]
