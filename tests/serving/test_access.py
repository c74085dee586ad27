"""Who may do what, against a real server: tokens on REST and gRPC alike, and what is told to those who have none."""

import re
import stat
import subprocess
import sys
import time
from pathlib import Path

import grpc
import pytest
import requests

from serving import server
from serving.client import Client
from serving.config import free_ports
from serving.state import StateDir
from tests import rpc

pytestmark = pytest.mark.server
APIS = ("inference", "management")
OTHER = {"inference": "management", "management": "inference"}
PATHS = {"inference": "/predictions/echo", "management": "/models"}


def rest(home: StateDir, api: str, token: str | None) -> bool:
    """Whether the API answers."""
    headers = {"Content-Type": "text/plain"} | ({} if token is None else {"Authorization": f"Bearer {token}"})
    method = {"inference": "POST", "management": "GET"}[api]
    answer = requests.request(method, getattr(home.require(), api) + PATHS[api], data=b"hello", headers=headers, timeout=20)
    assert answer.ok or (answer.status_code == 400 and "Token Authorization failed" in answer.text), answer.text
    return answer.ok


def remote_call(home: StateDir, api: str, token: str | None) -> bool:
    """The same over gRPC."""
    port = grpc_port(home, api)
    try:
        if api == "inference":
            assert b"hello" in rpc.call(port, rpc.INFERENCE + "Predictions", rpc.prediction("echo", b"hello"), token)
        else:
            assert b"echo" in rpc.call(port, rpc.MANAGEMENT + "DescribeModel", rpc.field(1, "echo"), token)
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.PERMISSION_DENIED, error
        return False
    return True


def grpc_port(home: StateDir, api: str) -> int:
    return int(re.search(rf"^grpc_{api}_port=(\d+)$", (home.folder / "config.properties").read_text(), re.M)[1])


def rotate(home: StateDir) -> subprocess.CompletedProcess:
    """As `make rotate-tokens`."""
    command = [sys.executable, "-m", "serving", "rotate-tokens", "--home", home.folder]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.fixture
def own(echo_store, tmp_path):
    """Start a server of the test's own with further settings; it hosts the echo."""
    home = StateDir(tmp_path / ".torchserve")

    def start(*settings: str) -> StateDir:
        server.start(home, overrides=[*free_ports(), f"model_store={echo_store}", *settings])
        Client.of(home).register("echo", "1.0", home.workers_log)
        return home

    yield start
    server.stop(home, draining=0)


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("ask", [rest, remote_call], ids=["REST", "gRPC"])
def test_only_an_apis_own_token_opens_it(home, client, ask, api):
    keys = client.keys
    assert ask(home, api, keys[api])
    for token in (None, "", "wrong", keys[api] + "x", keys[api][:-1], keys[OTHER[api]], keys["API"]):
        assert not ask(home, api, token), token


def test_rotated_tokens_are_accepted_and_the_old_ones_refused_while_the_models_serve_on(own):
    home = own()
    old, pid = home.keys(), Client.of(home).describe("echo")[0]["workers"][0]["pid"]
    done = rotate(home)
    assert done.returncode == 0 and "the old ones are refused" in done.stdout
    new = home.keys()
    for api in APIS:
        assert new[api] != old[api] and new[api] not in done.stdout
        assert home.header(api).read_text() == f"Authorization: Bearer {new[api]}\n"
        assert stat.S_IMODE(home.header(api).stat().st_mode) == stat.S_IMODE(home.keys_file.stat().st_mode) == 0o600
        for ask in (rest, remote_call):
            assert ask(home, api, new[api]) and not ask(home, api, old[api])
    assert Client.of(home).describe("echo")[0]["workers"][0]["pid"] == pid


def test_an_expired_token_is_refused_until_it_is_rotated(own):
    home = own("token_expiration_min=0.25")
    rotate(home)  # the whole lifetime is ahead, however long the start took
    old, deadline = home.keys(), time.monotonic() + 30
    assert all(ask(home, api, old[api]) for api in APIS for ask in (rest, remote_call))
    while any(ask(home, api, old[api]) for api in APIS for ask in (rest, remote_call)):
        assert time.monotonic() < deadline
        time.sleep(1)
    rotate(home)
    assert all(ask(home, api, home.keys()[api]) for api in APIS for ask in (rest, remote_call))


def test_without_tokens_there_is_nothing_to_rotate(own):
    home = own("disable_token_authorization=true")
    done = rotate(home)
    assert done.returncode == 1 and done.stderr.startswith("error: there are no tokens to rotate")


def test_only_the_api_key_rotates(home, client):
    for token in (client.keys["management"], client.keys["inference"], "wrong"):
        headers = {"Authorization": f"Bearer {token}"}
        answer = requests.get(f"{home.require().management}/token", params={"type": "management"}, headers=headers, timeout=20)
        assert answer.status_code == 400
    assert Client.of(home).keys == client.keys


def test_a_local_folder_is_not_run_for_grpc_either(home, client, tmp_path):
    folder = tmp_path / "evil"
    folder.mkdir()
    (folder / "evil.py").write_text("")
    with pytest.raises(grpc.RpcError):
        message = rpc.registration(str(folder))
        rpc.call(grpc_port(home, "management"), rpc.MANAGEMENT + "RegisterModel", message, client.keys["management"])
    assert client.names().__next__() == "echo"


def test_no_log_and_no_metric_holds_a_token(home, client):
    client.predict("echo", b"hello")
    rest(home, "inference", client.keys["management"])
    told = {file.name: file.read_text(errors="replace") for file in home.logs.rglob("*") if file.is_file()}
    told["metrics"] = requests.get(f"{home.require().metrics}/metrics", timeout=20).text
    assert {"server.log", "workers.log", "console.log", "metrics"} <= told.keys() and "ts_inference" in told["metrics"]
    assert not [(name, kind) for name, text in told.items() for kind, token in client.keys.items() if token in text]


def test_the_metrics_port_answers_nothing_else(home, client):
    address = home.require().metrics
    for path in ("/models", "/models/echo", "/predictions/echo", "/token?type=management", "/workflows"):
        answer = requests.get(address + path, headers=client.token("management"), timeout=20)
        assert answer.status_code == 404, path
        assert not [token for token in client.keys.values() if token in answer.text]


@pytest.mark.skipif(not Path(".git").exists(), reason="no git checkout")
def test_git_ignores_the_tokens():
    files = [".torchserve/key_file.json", "key_file.json", ".torchserve/inference.header"]
    ignored = subprocess.run(["git", "check-ignore", *files], capture_output=True, text=True).stdout.split()
    assert ignored == files


@pytest.mark.parametrize("api", ["inference", "management", "metrics"])
def test_no_page_of_another_origin_may_read_an_answer(home, client, api):
    path = PATHS.get(api, "/metrics")
    headers = client.token(api) | {"Origin": "https://example.com", "Access-Control-Request-Method": "POST"}
    for method in ("GET", "OPTIONS"):
        answer = requests.request(method, getattr(home.require(), api) + path, headers=headers, timeout=20)
        assert not [name for name in answer.headers if name.lower().startswith("access-control")]
