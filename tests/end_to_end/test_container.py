"""`python -m serving.container` as platforms start it: the image's files, one archive, and the requests that they document."""

import base64
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import requests

from archive.build import build
from serving import processes
from serving.config import free_ports
from tests.bundle import wait_for
from tests.serving.conftest import echo_store  # noqa: F401

pytestmark = [
    pytest.mark.slow,
    pytest.mark.server,
    pytest.mark.skipif(shutil.which("haproxy") is None, reason="the package haproxy is not installed"),
]
TEXT = Path("deploy/container.Dockerfile").read_text(encoding="utf-8")
STARTING = 150  # seconds
VERTEX = {
    "AIP_HEALTH_ROUTE": "/v1/endpoints/7/deployedModels/8",
    "AIP_PREDICT_ROUTE": "/v1/endpoints/7/deployedModels/8:predict",
}


class Container:
    """The process, and where it listens."""

    def __init__(self, image: Path, store: Path, folder: Path, *verb: str, **variables: str):
        (self.port,) = processes.free_ports(1)
        self.output = folder / "out"
        settings = [part for one in free_ports() for part in ("--set", one)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "serving.container", *verb, "--store", store, *settings],
            cwd=folder, stdout=self.output.open("w"), stderr=subprocess.STDOUT,
            env={name: os.environ[name] for name in ("PATH", "OMP_WAIT_POLICY") if name in os.environ}
            | {"PYTHONPATH": str(image), "HOME": str(folder), "AIP_HTTP_PORT": str(self.port), **variables},
        )  # fmt: skip

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def is_healthy(self, path: str = "/ping") -> bool:
        assert self.process.poll() is None, self.output.read_text()
        try:
            return requests.get(self.url(path), timeout=2).ok
        except requests.ConnectionError:
            return False

    def post(self, path: str, body: bytes | str, content_type: str) -> requests.Response:
        return requests.post(self.url(path), data=body, headers={"Content-Type": content_type}, timeout=60)


@pytest.fixture(scope="module")
def image(tmp_path_factory) -> Path:
    """What the Dockerfile copies, and no more: the project's folder in the image."""
    folder = tmp_path_factory.mktemp("image")
    for line in re.findall(r"^COPY (?!--from)(.*) /srv/bundle", TEXT, re.M):
        for source in map(Path, line.split()):
            (folder / source).parent.mkdir(parents=True, exist_ok=True)
            copied = shutil.copytree if source.is_dir() else shutil.copy
            copied(source, folder / source)
    return folder


@pytest.fixture(scope="module")
def container(image, artifacts, tmp_path_factory):
    """A container of the digits, with Vertex AI's variables, whose model's folder cannot be written."""
    folder = tmp_path_factory.mktemp("container")
    build(artifacts / "digits", Path("archive/recipes/digits.yaml"), folder / "model")
    (folder / "model").chmod(0o555)
    there = Container(image, folder / "model", folder, "serve", **VERTEX)
    try:
        assert not there.is_healthy()
        wait_for(there.is_healthy, STARTING)
        yield there
    finally:
        there.process.terminate()
        assert there.process.wait(60) == 0, there.output.read_text()


@pytest.fixture(scope="module")
def picture(artifacts) -> bytes:
    return (artifacts / "digits/samples/000.png").read_bytes()


def test_once_it_is_healthy_it_stays_so(container):
    assert all(container.is_healthy() for _ in range(20) if not time.sleep(0.1))


def test_sagemaker_gets_its_answers_without_a_key_and_without_a_name(container, picture):
    native = container.post("/predictions/digits", picture, "application/octet-stream").json()
    for media in ("application/x-image", "image/png", "application/octet-stream"):
        answer = container.post("/invocations", picture, media)
        assert answer.status_code == 200 and answer.json() == native
    instances = {"instances": [base64.b64encode(picture).decode()], "parameters": {"top_k": 1}}
    answer = requests.post(container.url("/invocations"), json=instances, timeout=60)
    assert answer.json() == {"predictions": [native[:1]]}


def test_vertex_gets_its_answers_at_its_own_routes(container, picture):
    native = container.post("/predictions/digits", picture, "application/octet-stream").json()
    body = {"instances": [{"b64": base64.b64encode(picture).decode()}, {"b64": "@"}], "parameters": {"top_k": 2}}
    answer = requests.post(container.url(VERTEX["AIP_PREDICT_ROUTE"]), json=body, timeout=60)
    first, second = answer.json()["predictions"]
    assert answer.status_code == 200 and first == native[:2] and second["error"]["code"] == 400
    raw = container.post(VERTEX["AIP_PREDICT_ROUTE"], picture, "image/png")  # rawPredict
    assert raw.json() == native
    assert container.is_healthy(VERTEX["AIP_HEALTH_ROUTE"])


def test_what_is_wrong_is_refused_and_nothing_of_the_url_is_dropped(container, picture):
    assert container.post("/invocations", b"no picture", "image/png").status_code == 400
    for path in ("/invocations", VERTEX["AIP_PREDICT_ROUTE"]):
        answer = container.post(f"{path}?top_k=1", picture, "image/png")
        assert answer.status_code == 422 and "parameters in the URL do not reach the model" in answer.json()["message"]
    assert requests.get(container.url("/models"), timeout=5).status_code == 404
    assert requests.delete(container.url("/invocations"), timeout=5).status_code == 404


def test_sigterm_answers_what_was_taken_in_and_ends_with_0(image, echo_store, tmp_path):  # noqa: F811
    store = tmp_path / "model"
    store.mkdir()
    for file in ("echo-1.0.mar", "echo-1.9.mar"):
        shutil.copy(echo_store / file, store)
    lines = (echo_store / "SHA256SUMS").read_text().splitlines(keepends=True)
    (store / "SHA256SUMS").write_text("".join(line for line in lines if "echo-1.0.mar" in line or "echo-1.9.mar" in line))
    there, answers = Container(image, store, tmp_path), []
    try:
        wait_for(there.is_healthy, STARTING)
        wait_for(lambda: "echo 1.9 is ready" in there.output.read_text())
        asked = threading.Thread(target=lambda: answers.append(there.post("/invocations", b"busy for 3 seconds", "text/plain")))
        asked.start()
        time.sleep(1)
    finally:
        there.process.send_signal(signal.SIGTERM)
        assert there.process.wait(60) == 0, there.output.read_text()
    asked.join(30)
    assert answers[0].status_code == 200
    assert "Traceback" not in there.output.read_text()


def test_several_models_are_refused_unless_one_is_named(image, echo_store, tmp_path):  # noqa: F811
    there = Container(image, echo_store, tmp_path)  # it has several models
    assert there.process.wait(60) == 1
    assert "has the models broken, echo, second; name one: --model broken" in there.output.read_text()
