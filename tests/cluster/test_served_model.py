"""cluster/node/served_model.py: an archive in a process of its own answers as under TorchServe. No Ray is needed.

The process sees `cluster/node/` and the archive only, as a replica does.
"""

import base64
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from archive.build import build
from cluster import plan
from cluster.settings import Settings
from tests.conftest import png

PNG = {"content-type": "image/png"}


@pytest.fixture
def archive(picture_artifact, tmp_path):
    return built(picture_artifact, tmp_path, "1.0")


def built(artifact: Path, folder: Path, version: str, **changes: Any) -> Path:
    recipe = folder / "recipe.yaml"
    given = {"handler": {"class_path": "handlers.vision.ImageClassifier"}, "maxBatchDelay": 300, "batchSize": 8}
    recipe.write_text(yaml.safe_dump(given | changes))
    return build(artifact, recipe, folder / "store", version)


def request(body: bytes, headers: dict = PNG, path: str = "/predictions/pictures", method: str = "POST") -> dict:
    return {"method": method, "path": path, "headers": headers, "body": base64.b64encode(body).decode()}


def process(archive: Path, tmp_path: Path, rounds: list[list[dict]], **changes: Any) -> subprocess.CompletedProcess:
    """Play the rounds in a process that has the node's code alone."""
    code = tmp_path / "code"
    shutil.copytree("cluster/node", code / "cluster" / "node", dirs_exist_ok=True)
    (code / "cluster" / "__init__.py").touch()
    shutil.copy("tests/cluster/play_model.py", code)
    args = plan.application(archive, Settings(archives=str(archive.parent)))["args"] | changes
    environment = os.environ | {"PYTHONPATH": str(code), "BUNDLE_ARCHIVES": str(tmp_path / "cache"), "OMP_WAIT_POLICY": "PASSIVE"}
    return subprocess.run(
        [sys.executable, code / "play_model.py"], input=json.dumps({"args": args, "rounds": rounds}), env=environment,
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def play(archive: Path, tmp_path: Path, *rounds: list[dict], **changes: Any) -> dict:
    done = process(archive, tmp_path, list(rounds), **changes)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_samples_are_answered_as_in_training_and_one_bad_request_is_refused_alone(archive, picture_artifact, tmp_path):
    """The handler comes from the archive. Seven good requests and a truncated one are one batch."""
    folder = picture_artifact / "samples"
    samples = json.loads((folder / "expected.json").read_bytes())
    files = [(folder / sample["file"]).read_bytes() for sample in samples]
    bodies = [files[index % 4] for index in range(7)]
    played = play(archive, tmp_path, [request(body) for body in [*bodies[:3], bodies[0][:200], *bodies[3:]]])
    answers = played["answers"][0]
    bad = answers.pop(3)
    assert bad["code"] == 400 and "not a picture" in bad["body"]["message"]
    for index, answer in enumerate(answers):
        expected = samples[index % 4]["answer"]
        assert answer["code"] == 200 and answer["type"] == "application/json"
        assert [entry["label"] for entry in answer["body"]] == [entry["label"] for entry in expected]
        assert [entry["score"] for entry in answer["body"]] == pytest.approx([entry["score"] for entry in expected], abs=1e-3)
    assert played["sizes"][-1] == 8
    assert Path(played["handlers"]).parent.parent == tmp_path / "cache"


def test_the_wire_is_the_one_of_torchserve(archive, tmp_path):
    good = png(0)
    text = {"inputs": base64.b64encode(good).decode(), "parameters": {"top_k": 1}}
    form = b'--x\r\nContent-Disposition: form-data; name="data"; filename="a"\r\n\r\n%b\r\n--x--\r\n' % good
    key = {"authorization": "Bearer secret"}
    cases = [
        (request(good, PNG | key), 200, None),
        (request(good, PNG | key, "/predictions/pictures/1.0"), 200, None),
        (request(good, PNG | key, "/predictions/pictures/9.0"), 404, "Model version: 9.0 does not exist"),
        (request(good, PNG | key, "/explanations/pictures"), 200, None),
        (request(json.dumps(text).encode(), {"content-type": "application/json"} | key), 200, None),
        (request(form, {"content-type": "multipart/form-data; boundary=x"} | key), 200, None),
        (request(form[:-9], {"content-type": "multipart/form-data; boundary=x"} | key), 400, "no end"),
        (request(b"", PNG | key), 400, "empty"),
        (request(b"a=b", {"content-type": "application/x-www-form-urlencoded"} | key), 415, "form-encoded"),
        (request(b"words", {"content-type": "text/plain"} | key), 415, "takes a picture"),
        (request(json.dumps({"inputs": 3}).encode(), {"content-type": "application/json"} | key), 422, "'inputs' is a number"),
        (request(bytes(10_001), PNG | key), 413, "10,000"),
        (request(good, PNG), 400, "Token Authorization failed"),
        (request(good, PNG | {"authorization": "Bearer other"}), 400, "Token Authorization failed"),
        (request(good, PNG | key, method="GET"), 405, "not allowed"),
    ]
    key_sha256 = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"  # of "secret"
    answers = play(archive, tmp_path, [case for case, _, _ in cases], key_sha256=key_sha256, max_bytes=10_000)["answers"][0]
    for (_, code, said), answer in zip(cases, answers, strict=True):
        assert answer["code"] == code, answer
        if said:
            assert answer["body"]["code"] == code and said in answer["body"]["message"]
    assert len(answers[4]["body"]) == 1  # top_k
    assert answers[0]["body"] == answers[1]["body"] == answers[5]["body"]
    assert "heatmap" in answers[3]["body"]


def test_a_full_queue_is_a_503_in_json_that_says_when_to_ask_again(picture_artifact, tmp_path):
    archive = built(picture_artifact, tmp_path, "1.0", jobQueueSize=4, batchSize=2)
    answers = play(archive, tmp_path, [request(png(0))] * 12)["answers"][0]
    refused = [answer for answer in answers if answer["code"] == 503]
    answered = [answer["code"] for answer in answers].count(200)
    assert answered + len(refused) == 12 and 4 <= answered <= 8  # the first batches may begin meanwhile
    assert refused[0]["headers"]["retry-after"] == "1" and refused[0]["body"]["type"] == "ServiceUnavailableException"


def test_an_archive_that_answers_its_samples_otherwise_never_gets_ready(archive, tmp_path):
    """The digest is right, but the weights are others: training recorded other answers."""
    unpacked = tmp_path / "cache" / plan.verify(archive).sha256
    shutil.unpack_archive(archive, unpacked, "zip")
    expected = json.loads((unpacked / "samples/expected.json").read_bytes())
    expected[0]["answer"][0]["score"] += 0.1
    (unpacked / "samples/expected.json").write_text(json.dumps(expected))
    done = process(archive, tmp_path, [])
    assert done.returncode and "WrongAnswer" in done.stderr


def test_an_archive_of_another_digest_never_gets_ready(archive, tmp_path):
    done = process(archive, tmp_path, [], sha256="0" * 64)
    assert done.returncode and "not the archive of the configuration" in done.stderr
