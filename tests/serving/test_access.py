"""Tokens of a real server: what each opens on REST and on gRPC, and what a caller without one can learn."""

import contextlib
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
import requests

from serving import server
from serving.client import Client
from serving.state import StateDir
from tests import rpc
from tests.bundle import settings_for, wait_for

pytestmark = pytest.mark.server
APIS = ("inference", "management")
OTHER = {"inference": "management", "management": "inference"}
PATHS = {"inference": "/predictions/echo", "management": "/models"}


def rest(home: StateDir, api: str, token: str | None) -> bool:
    """Whether the REST API accepts the token."""
    headers = {"Content-Type": "text/plain"} | ({} if token is None else {"Authorization": f"Bearer {token}"})
    method = {"inference": "POST", "management": "GET"}[api]
    answer = requests.request(method, getattr(home.require(), api) + PATHS[api], data=b"hello", headers=headers, timeout=20)
    assert answer.ok or (answer.status_code == 400 and "Token Authorization failed" in answer.text), answer.text
    return answer.ok


def remote_call(home: StateDir, api: str, token: str | None) -> bool:
    """Whether the gRPC API accepts the token."""
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
    """Run what `make rotate-tokens` runs."""
    command = [sys.executable, "-m", "serving", "rotate-tokens", "--home", home.folder]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@contextlib.contextmanager
def started(store: Path, folder: Path, *settings: str) -> Iterator[StateDir]:
    """A server with these settings that hosts the echo."""
    home = StateDir(folder / ".torchserve")
    server.start(home, overrides=[*settings_for(store), *settings])
    try:
        Client.of(home).register("echo", "1.0", home.workers_log)
        yield home
    finally:
        server.stop(home, draining=0)


@pytest.fixture(scope="module")
def own(echo_store, tmp_path_factory):
    """A server of these tests' own, because they change its tokens."""
    with started(echo_store, tmp_path_factory.mktemp("access")) as home:
        yield home


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("ask", [rest, remote_call], ids=["REST", "gRPC"])
def test_only_an_apis_own_token_opens_it(home, client, ask, api):
    keys = client.keys
    assert ask(home, api, keys[api])
    for token in (None, "", "wrong", keys[api] + "x", keys[api][:-1], keys[OTHER[api]], keys["API"]):
        assert not ask(home, api, token), token


def test_a_rotation_ends_the_old_tokens_while_the_models_serve_on(own):
    old, pid = own.keys(), Client.of(own).describe("echo")[0]["workers"][0]["pid"]
    done = rotate(own)
    assert done.returncode == 0 and "the old ones are refused" in done.stdout
    new = own.keys()
    for api in APIS:
        assert new[api] != old[api] and new[api] not in done.stdout
        assert own.header(api).read_text() == f"Authorization: Bearer {new[api]}\n"
        assert stat.S_IMODE(own.header(api).stat().st_mode) == stat.S_IMODE(own.keys_file.stat().st_mode) == 0o600
        for ask in (rest, remote_call):
            assert ask(own, api, new[api]) and not ask(own, api, old[api])
    assert Client.of(own).describe("echo")[0]["workers"][0]["pid"] == pid


def test_rotations_at_once_leave_the_last_tokens_to_curl_and_to_a_proxy(own):
    own.admit()
    with ThreadPoolExecutor(2) as threads:
        assert [done.returncode for done in threads.map(rotate, [own, own])] == [0, 0]
    keys = own.keys()
    for api in APIS:
        assert own.header(api).read_text() == f"Authorization: Bearer {keys[api]}\n" and rest(own, api, keys[api])
    assert own.proxy.read_text() == f"Bearer {keys['inference']}\n"


@pytest.mark.slow
def test_an_expired_token_is_refused_until_it_is_rotated(echo_store, tmp_path):
    with started(echo_store, tmp_path, "token_expiration_min=0.25") as home:
        rotate(home)  # so that the whole lifetime is left, however long the start took
        old = home.keys()
        assert all(ask(home, api, old[api]) for api in APIS for ask in (rest, remote_call))
        wait_for(lambda: not any(ask(home, api, old[api]) for api in APIS for ask in (rest, remote_call)), seconds=60)
        rotate(home)
        assert all(ask(home, api, home.keys()[api]) for api in APIS for ask in (rest, remote_call))


@pytest.mark.slow
def test_without_tokens_there_is_nothing_to_rotate_and_a_proxy_stays_open(echo_store, tmp_path):
    with started(echo_store, tmp_path, "disable_token_authorization=true") as home:
        home.admit()
        done = rotate(home)
        assert done.returncode == 1 and done.stderr.startswith("error: there are no tokens to rotate")
        assert home.proxy.read_text() == "Bearer none\n"


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
