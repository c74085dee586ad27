"""serving/monitor.py of a real server: what it says of readiness, how soon, and how it starts and ends."""

import json
import os
import re
import signal
import threading
import time

import psutil
import pytest
import requests

from serving import config, monitor, server
from serving.client import Client
from serving.errors import ServerError
from serving.processes import is_alive
from serving.registry import Registry
from serving.state import RegisteredModel, StateDir
from tests.bundle import settings_for, wait_for
from tests.serving.conftest import archive

pytestmark = pytest.mark.server
SOON = 2  # seconds within which readiness follows what happens


def ask(home: StateDir, path: str = "/ready") -> requests.Response:
    return requests.get(home.require().monitor + path, timeout=10)


def is_ready(home: StateDir, path: str = "/ready") -> bool:
    answer = ask(home, path)
    assert answer.status_code == (200 if answer.json()["ready"] else 503)
    return answer.json()["ready"]


def process_of(home: StateDir) -> psutil.Process:
    argument = f"--server={home.require().temporary}"
    found = [each for each in psutil.process_iter(["cmdline"]) if argument in (each.info["cmdline"] or [])]
    (only,) = found
    return only


def forget(home: StateDir) -> None:
    """Let nothing be expected of the server, whatever it hosts."""
    for model in home.registered():
        home.remember(model, None)


@pytest.fixture
def hosted(home):
    """The server of this folder's tests, which should host the echo."""
    forget(home)
    registry = Registry(home)
    registry.host("echo", "1.0")
    wait_for(lambda: is_ready(home))
    yield home
    forget(home)


def test_a_server_that_hosts_nothing_is_alive_and_not_ready(home):
    forget(home)
    answer = ask(home)
    assert answer.status_code == 503 and answer.json() == {"ready": False, "faults": ["no model is hosted"]}
    assert ask(home, "/v2/health/live").json() == {"live": True}


def test_a_models_metadata_is_that_of_its_archive(hosted, tmp_path, lent_store):
    answer = ask(hosted, "/v2/models/echo")
    assert answer.status_code == 404 and "echo-1.0.mar has no description.json" in answer.json()["message"]
    v2 = {"name": "echo", "versions": ["1.0"], "platform": "x", "inputs": [], "outputs": []}
    made = archive(tmp_path, lent_store, "described", extra={"description.json": json.dumps({"v2": v2})})
    hosted.remember("described", RegisteredModel("1.0", versions={"1.0": ""}))
    try:
        assert ask(hosted, "/v2/models/described").json() == ask(hosted, "/v2/models/described/versions/1.0").json() == v2
        assert ask(hosted, "/v2/models/described/versions/2.0").status_code == 404 and made.exists()
    finally:
        hosted.remember("described", None)


def test_readiness_needs_no_token_and_has_the_open_inference_protocols_form(hosted):
    assert ask(hosted).json() == {"ready": True, "faults": []}
    assert ask(hosted, "/v2/health/ready").json() == {"ready": True}
    assert ask(hosted, "/v2/models/echo/ready").json() == {"name": "echo", "ready": True}
    assert ask(hosted, "/v2/models/echo/versions/1.0/ready").status_code == 200
    for path in ("/v2/models/other/ready", "/v2/models/echo/versions/2.0/ready", "/models", "/"):
        assert ask(hosted, path).status_code == 404 and ask(hosted, path).json()["type"] == "NotFound"
    assert requests.head(hosted.require().monitor + "/ready", timeout=10).status_code == 200
    assert requests.post(hosted.require().monitor + "/ready", timeout=10).status_code == 501


def test_it_is_false_soon_after_a_workers_death_and_true_soon_after_recovery(hosted, client):
    pid = client.describe("echo", "1.0")[0]["workers"][0]["pid"]
    paths = ("/ready", "/v2/health/ready", "/v2/models/echo/ready")
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not any(is_ready(hosted, path) for path in paths), SOON)
    wait_for(lambda: client.is_ready("echo", "1.0") and client.describe("echo", "1.0")[0]["workers"][0]["pid"] != pid, 60)
    wait_for(lambda: all(is_ready(hosted, path) for path in paths), SOON)


def test_what_should_be_hosted_and_is_not_is_missed(hosted, client):
    registry = Registry(hosted)
    registry.host("second", "1.0")
    wait_for(lambda: is_ready(hosted), SOON)
    client.unregister("second", "1.0")  # by TorchServe's own API
    wait_for(lambda: not is_ready(hosted), SOON)
    assert ask(hosted).json()["faults"][0].startswith("second 1.0: ") and is_ready(hosted, "/v2/models/echo/ready")
    assert not is_ready(hosted, "/v2/models/second/ready")
    registry.drop("second", "1.0")
    assert is_ready(hosted)


def test_a_model_that_answers_its_samples_otherwise_than_in_training_is_not_ready(hosted):
    Registry(hosted).host("echo", "3.0")
    wait_for(lambda: not is_ready(hosted))
    try:
        (fault,) = ask(hosted).json()["faults"]
        assert fault.startswith("echo 3.0: ") and "answers 0.txt otherwise than in training" in fault
        assert is_ready(hosted, "/v2/models/echo/ready") and not is_ready(hosted, "/v2/models/echo/versions/3.0/ready")
    finally:
        Registry(hosted).drop("echo", "3.0")
    assert is_ready(hosted)


def test_promotion_scaling_and_rotation_never_make_it_false(hosted):
    registry, seen = Registry(hosted), []

    def watched(change) -> None:
        is_over = threading.Event()

        def probe() -> None:
            while not is_over.is_set():
                seen.append(ask(hosted).json())
                time.sleep(0.01)

        prober = threading.Thread(target=probe)
        prober.start()
        try:
            change()
            time.sleep(0.5)
        finally:
            is_over.set()
            prober.join()

    watched(lambda: registry.promote("echo", "1.10"))
    watched(lambda: registry.scale("echo", 2))
    watched(lambda: registry.scale("echo", 1))
    watched(lambda: Client.of(hosted).rotate("inference"))
    watched(lambda: registry.promote("echo", "1.0"))
    assert len(seen) > 100 and [each["faults"] for each in seen if not each["ready"]] == []


def test_a_start_lets_nothing_count_as_ready_before_all_its_models_are_hosted(hosted):
    Registry(hosted).want("second", "1.0")
    assert not is_ready(hosted)
    Registry(hosted).host("second", "1.0")
    wait_for(lambda: is_ready(hosted), SOON)
    Registry(hosted).drop("second", "1.0")


@pytest.mark.slow
def test_a_probe_costs_little(hosted):
    process = process_of(hosted)
    before, start = sum(process.cpu_times()[:2]), time.monotonic()
    for _ in range(10):
        assert is_ready(hosted)
        time.sleep(1)
    share = (sum(process.cpu_times()[:2]) - before) / (time.monotonic() - start)
    assert share < 0.05  # of one core


def test_a_killed_monitor_comes_back_with_the_next_make_serve(hosted):
    killed = process_of(hosted)
    killed.kill()
    wait_for(lambda: not is_alive(killed))
    assert server.start(hosted) == hosted.running()
    wait_for(lambda: hosted.running() and listens(hosted))
    wait_for(lambda: is_ready(hosted))
    monitor.start(hosted, hosted.require())  # a second one ends, because the first has the port
    time.sleep(2)
    assert is_ready(hosted) and process_of(hosted).is_running()
    assert "Traceback" not in (hosted.logs / "monitor.log").read_text()


def listens(home: StateDir) -> bool:
    try:
        return ask(home).ok or True
    except requests.ConnectionError:
        return False


@pytest.mark.slow
def test_it_ends_with_the_server(echo_store, tmp_path):
    home = StateDir(tmp_path / ".torchserve")
    running = server.start(home, overrides=settings_for(echo_store))
    try:
        Registry(home).host("echo", "1.0")
        wait_for(lambda: is_ready(home))
        process = process_of(home)
        os.kill(running.pid, signal.SIGKILL)
        wait_for(lambda: not is_alive(process), SOON)
    finally:
        server.stop(home, draining=0)


def test_an_https_address_is_refused_in_one_line():
    with pytest.raises(ServerError, match=re.escape("monitor_address is https; the monitor speaks plain HTTP")):
        config.read(config.FILE, ["monitor_address=https://127.0.0.1:8083"])
