"""docs/haproxy.cfg as it is: the real HAProxy in front of a real TorchServe. What passes, and what does not."""

import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest
import requests

from serving import server
from serving.client import Client
from serving.config import free_ports
from serving.registry import Registry
from serving.state import StateDir
from tests import front_door
from tests.bundle import wait_for
from tests.serving.conftest import echo_store  # noqa: F401

pytestmark = [
    pytest.mark.slow,
    pytest.mark.server,
    *front_door.needs_door,
]
KEY, OTHER_KEY = "key-of-one-caller", "key-of-another"
HEAD = f"HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
LIMIT = 10_485_760  # bytes of a body


class Door:
    """The proxy as a caller sees it, and its log."""

    def __init__(self, running: front_door.FrontDoor, home: StateDir, settings: list[str]):
        self.port, self.certificate, self.log = running.port, running.certificate, running.log
        self.home, self.settings = home, settings

    def ask(self, path: str = "/predictions/echo", body: bytes = b"hello", method: str = "POST", key: str = KEY, **headers):
        sent = {"Authorization": f"Bearer {key}", "Content-Type": "text/plain"} | headers
        url = f"https://127.0.0.1:{self.port}{path}"
        return requests.request(method, url, data=body, headers=sent, verify=str(self.certificate), timeout=150)

    def connect(self, newest: ssl.TLSVersion | None = None) -> ssl.SSLSocket:
        context = ssl.create_default_context(cafile=str(self.certificate))
        if newest:
            context.maximum_version = newest
        raw = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        return context.wrap_socket(raw, server_hostname="127.0.0.1")

    def make(self, command: str) -> None:
        """Run one of serving's commands, as a person would."""
        changes = [part for setting in self.settings for part in ("--set", setting)] if command == "start" else []
        subprocess.run(
            [sys.executable, "-m", "serving", command, "--home", self.home.folder, *changes],
            check=True, capture_output=True, timeout=150,
        )  # fmt: skip


@pytest.fixture(scope="module")
def door(echo_store, tmp_path_factory):  # noqa: F811
    folder = tmp_path_factory.mktemp("door")
    home = StateDir(folder / ".torchserve")
    settings = [*free_ports(), f"model_store={echo_store}"]
    servers = {"TORCHSERVE": netloc(settings, "inference_address"), "MONITOR": netloc(settings, "monitor_address")}
    with front_door.running(folder, [KEY, OTHER_KEY], DOOR_TOKEN=home.proxy, DOOR_EXPLAINED=home.explained, **servers) as running:
        there = Door(running, home, settings)
        try:
            there.make("start")
            Registry(home).host("echo", "1.0")
            assert there.ask().status_code == 200, there.log.read_text()
            yield there
        finally:
            server.stop(home, draining=0)


def netloc(settings: list[str], name: str) -> str:
    return next(urlsplit(value).netloc for key, _, value in (one.partition("=") for one in settings) if key == name)


def test_callers_with_a_key_are_answered(door):
    for key in (KEY, OTHER_KEY):
        assert door.ask(key=key).json() == [{"label": "hello", "score": 0.5}]
    assert door.ask("/predictions/echo/1.0", method="PUT").status_code == 200
    assert door.ask("/ping", method="GET", body=b"").json() == {"status": "Healthy"}


def test_explanations_go_to_the_workers_that_explain(door):
    paths = ("/explanations/echo", "/explanations/echo/1.0", "/v1/models/echo:explain", "/v2/models/echo/explain")
    asked = {path: door.ask(path) for path in paths}
    assert all(answer.status_code == 200 for answer in asked.values()), asked  # the echo has none
    door.home.explained.write_text("other\necho\n")
    try:
        asked = {path: door.ask(path) for path in paths}
        predicted = [door.ask(path) for path in ("/predictions/echo", "/v1/models/echo:predict", "/v2/models/echo/infer")]
    finally:
        door.home.explained.unlink()
    for path, answer in asked.items():
        assert answer.status_code == 404 and "echo.explain" in answer.json()["message"], path
    assert all(answer.status_code == 200 for answer in predicted)


def test_parameters_in_the_url_are_refused_and_not_dropped(door):
    answer = door.ask("/predictions/echo?top_k=1")
    assert answer.status_code == 422 and "parameters in the URL do not reach the model" in answer.json()["message"]
    assert door.ask("/ping?x=1", method="GET", body=b"").status_code == 200


@pytest.mark.parametrize("version", ["HTTP/1.0\r\n", "HTTP/1.1\r\nConnection: close\r\n"])
def test_the_connection_closes_behind_the_answer_if_the_caller_says_so(door, version):
    with door.connect() as connection:
        head = f"POST /predictions/echo {version}Host: x\r\nAuthorization: Bearer {KEY}\r\nContent-Type: text/plain\r\n"
        connection.sendall(f"{head}Content-Length: 5\r\n\r\nhello".encode())
        connection.settimeout(10)
        answer = b""
        while piece := connection.recv(65_536):
            answer += piece
    assert answer.split()[1] == b"200" and answer.endswith(b'[{"label": "hello", "score": 0.5}]')


@pytest.mark.parametrize("key", ["", "wrong", KEY[:-1], KEY + "x", "torchserve's own"])
def test_callers_without_a_key_are_not(door, key):
    key = door.home.keys()["inference"] if key == "torchserve's own" else key
    answer = door.ask(key=key)
    assert answer.status_code == 401 and answer.json()["code"] == 401


def is_ready(door, path: str = "/ready") -> bool:
    answer = requests.get(f"https://127.0.0.1:{door.port}{path}", verify=str(door.certificate), timeout=20)  # without a key
    said = answer.json()
    assert answer.status_code == (200 if said.get("ready", said.get("live")) else 503) and "faults" not in said
    return answer.ok


def test_readiness_needs_no_key_and_follows_a_workers_death_and_recovery_within_2_s(door):
    paths, client = (
        ("/ready", "/v2/health/ready", "/v2/models/echo/ready", "/v2/models/echo/versions/1.0/ready"),
        Client.of(door.home),
    )
    wait_for(lambda: all(is_ready(door, path) for path in paths))
    assert is_ready(door, "/v2/health/live")
    pid = client.describe("echo", "1.0")[0]["workers"][0]["pid"]
    os.kill(pid, 9)
    wait_for(lambda: not any(is_ready(door, path) for path in paths), 2)
    assert is_ready(door, "/v2/health/live")
    wait_for(lambda: client.is_ready("echo", "1.0") and client.describe("echo", "1.0")[0]["workers"][0]["pid"] != pid, 60)
    wait_for(lambda: all(is_ready(door, path) for path in paths), 2)


def test_a_restart_is_neither_ready_nor_alive_until_the_models_are_back(door):
    wait_for(lambda: is_ready(door))
    door.make("stop")
    wait_for(lambda: not is_ready(door) and not is_ready(door, "/v2/health/live"), 2)
    answer = requests.get(f"https://127.0.0.1:{door.port}/v2/models/echo/ready", verify=str(door.certificate), timeout=20)
    assert answer.status_code == 503
    door.make("start")
    wait_for(lambda: is_ready(door) and is_ready(door, "/v2/health/live"), 5)


def test_only_tls_1_3_is_spoken(door):
    with door.connect() as connection:
        assert connection.version() == "TLSv1.3"
    with pytest.raises(ssl.SSLError):
        door.connect(ssl.TLSVersion.TLSv1_2)
    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://127.0.0.1:{door.port}/ping", timeout=20)


def test_a_models_metadata_is_for_callers_with_a_key(door):
    for path in ("/v2/models/echo", "/v2/models/echo/versions/1.0"):
        answer = door.ask(path, b"", "GET")
        assert answer.status_code == 404 and "echo-1.0.mar has no description.json" in answer.json()["message"]
        assert door.ask(path, b"", "GET", key="another").status_code == 401


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/models"), ("POST", "/models?url=echo-1.10.mar"), ("DELETE", "/models/echo"), ("GET", "/token?type=management"),
        ("POST", "/workflows?url=x.war"), ("GET", "/metrics"), ("OPTIONS", "/"), ("GET", "/"), ("GET", "/api-description"),
        ("POST", "/wfpredict/x"), ("POST", "/models/echo/predict"), ("POST", "/invocations"),
        ("POST", "/v1/models/echo:describe"),
        ("POST", "/v2/models/echo"), ("POST", "/v2/models/echo/unload"), ("POST", "/v2/repository/index"), ("POST", "/ready"),
        ("GET", "/predictions/echo"), ("POST", "/predictions/../models"), ("POST", "/predictions/%2e%2e/models"),
        ("POST", "/predictions/echo/1.0/more"), ("POST", "//models"),
    ],
)  # fmt: skip
def test_nothing_but_predictions_passes(door, method, path):
    with door.connect() as connection:  # `requests` would normalise the path
        connection.sendall(
            f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nContent-Length: 0\r\n\r\n".encode()
        )
        assert connection.recv(200).split()[1] == b"404"


@pytest.mark.parametrize("chunked", [False, True], ids=["with its length", "in chunks"])
def test_a_body_of_the_limit_passes_and_one_byte_more_gets_413(door, chunked):
    def body(size: int):
        return (b"a" * part for part in (size - 1, 1)) if chunked else b"a" * size

    assert door.ask(body=body(LIMIT)).json()[0]["label"] == f"{LIMIT} characters"
    with door.connect() as connection:
        length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {LIMIT + 1}"
        connection.sendall(f"POST /predictions/echo {HEAD}{length}\r\n\r\n".encode())
        if chunked:
            connection.sendall(f"{LIMIT + 1:x}\r\n".encode() + b"a" * (LIMIT + 1) + b"\r\n0\r\n\r\n")
        assert connection.recv(200).split()[1] == b"413"


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_slow_clients_are_cut_with_408_while_others_are_answered(door):
    """Twenty clients send headers and twenty send bodies, one byte per second. TorchServe sees nothing of these requests."""
    head = f"POST /predictions/echo {HEAD}Content-Length: 1000\r\n\r\n".encode()
    stop, codes = threading.Event(), []

    def drip(sent: bytes) -> None:
        with door.connect() as connection:
            connection.sendall(sent)
            connection.settimeout(1)
            while not stop.is_set():
                try:
                    if answer := connection.recv(200):
                        codes.append(answer.split()[1])
                    return
                except TimeoutError:
                    connection.sendall(b"a")

    with ThreadPoolExecutor(40) as clients:
        slow = [clients.submit(drip, head if client % 2 else head[:40]) for client in range(40)]
        answered = 0
        try:
            while not all(one.done() for one in slow):  # until HAProxy's own time limits, 10 s and 30 s
                assert door.ask().status_code == 200
                answered += 1
                time.sleep(0.1)
        finally:
            stop.set()
    # If the slow ones held the others up, one request or two would have been answered.
    assert codes == [b"408"] * 40 and answered > 10


def test_neither_the_describe_header_nor_the_callers_key_passes(door):
    arrived = {
        name.lower(): value
        for name, value in door.ask(body=b"headers", describe="True", Describe="True", other="x").json().items()
    }
    assert arrived["other"] == "x" and "describe" not in arrived
    assert arrived["authorization"] == f"Bearer {door.home.keys()['inference']}"


@pytest.mark.parametrize("change", [("stop", "start"), ("rotate-tokens",)], ids=["a restart", "a rotation"])
def test_callers_without_retries_notice_nothing_of(door, change):
    stop, wrong, sent = threading.Event(), [], [0] * 8

    def load(caller: int) -> None:
        while not stop.is_set():
            answer = door.ask(body=f"{caller} {sent[caller]}".encode())
            if answer.status_code != 200 or answer.json()[0]["label"] != f"{caller} {sent[caller]}":
                wrong.append((answer.status_code, answer.text))
            sent[caller] += 1

    def each_sends_more() -> None:
        before = list(sent)
        wait_for(lambda: all(now > then + 1 for now, then in zip(sent, before, strict=True)), seconds=60)

    pid = door.home.require().pid
    with ThreadPoolExecutor(len(sent)) as callers:
        running = [callers.submit(load, caller) for caller in range(len(sent))]
        try:
            each_sends_more()
            for command in change:
                door.make(command)
            each_sends_more()
        finally:
            stop.set()
        for one in running:
            one.result()
    assert wrong == []
    assert (door.home.require().pid != pid) == ("stop" in change)


def test_a_frontend_that_was_killed_is_waited_for(door):
    """HAProxy holds requests once it has seen that the frontend is away. Nothing can hold those of the first second."""
    read_from = door.log.stat().st_size
    os.kill(door.home.require().pid, 9)
    wait_for(lambda: b"torchserve/one is DOWN" in door.log.read_bytes()[read_from:])
    with ThreadPoolExecutor(8) as clients:
        answers = [clients.submit(door.ask) for _ in range(8)]
        time.sleep(1)
        assert not any(answer.done() for answer in answers)
        door.make("start")
        assert [answer.result().status_code for answer in answers] == [200] * 8
    assert Client.of(door.home).is_up()
