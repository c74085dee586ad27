"""serving/client.py against a real server: what the client can do, and what the server refuses to every caller."""

import contextlib
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests

from serving.client import Client
from serving.errors import ServerError, Unreachable
from serving.state import Running, StateDir

pytestmark = pytest.mark.server


def test_a_prediction_comes_back(client):
    assert client.predict("echo", b"hello").json() == [{"label": "hello", "score": 0.5}]


def test_an_answer_above_400_does_not_spoil_the_next(client):
    """TorchServe resets the connection after such an answer."""
    for _ in range(20):
        assert client.predict("nothing", b"x").status_code == 404
        assert client.predict("echo", b"x").status_code == 200


def test_models_are_described_with_workers_and_queue(client):
    described = next(model for model in client.models() if model["modelName"] == "echo")
    assert described["workers"][0]["status"] == "READY" and described["jobQueueStatus"]["pendingRequests"] == 0


def test_what_is_not_in_the_store_is_refused_with_the_servers_words(client):
    with pytest.raises(ServerError, match="refused POST /models with 404: Model not found"):
        client.register("nothing", "1.0")


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/x.mar", "https://example.com/x.mar", "file:///tmp/x.mar", "../store/echo-1.0.mar"]
)
def test_nothing_outside_the_store_is_loaded(client, url):
    with pytest.raises(ServerError, match=r"refused POST /models with 40[034]"):
        client.manage("POST", "/models", url=url, model_name="outside")
    assert "outside" not in client.names()


@pytest.mark.parametrize("api", ["inference", "management"])
def test_without_the_right_token_nothing_is_answered(home, client, api):
    running, path = home.require(), {"inference": "/predictions/echo", "management": "/models"}[api]
    other = client.keys[{"inference": "management", "management": "inference"}[api]]
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Bearer {other}"}):
        assert requests.get(getattr(running, api) + path, headers=headers, timeout=10).status_code in (400, 401, 403)


def test_curl_takes_the_token_from_the_header_file(home, client):
    command = ["curl", "-sS", "-H", f"@{home.header('inference')}", "--data-binary", "hello", client.url("echo")]
    headers = ["-H", "Content-Type: application/octet-stream"]
    answer = subprocess.run([*command, *headers], capture_output=True, text=True, check=True, timeout=20)
    assert '"label": "hello"' in answer.stdout


def test_scaling_returns_when_the_workers_are_there(client):
    client.scale("echo", 2)
    client.wait_ready("echo", "1.0")
    assert len(client.describe("echo", "1.0")[0]["workers"]) == 2
    client.scale("echo", 1)
    assert len(client.describe("echo", "1.0")[0]["workers"]) == 1


def test_a_model_whose_worker_cannot_start_says_why_and_is_not_hosted(home, client):
    with pytest.raises(ServerError, match=r"a worker of broken 1\.0 cannot start: FileNotFoundError: no weights here"):
        client.register("broken", "1.0", home.workers_log)
    assert "broken" not in client.names()


def test_without_a_server_the_message_says_how_to_start_one(tmp_path):
    with pytest.raises(ServerError, match="make serve"):
        Client.of(StateDir(tmp_path))


@contextlib.contextmanager
def server_with(answer: Callable[[BaseHTTPRequestHandler], None], **options: float) -> Iterator[Client]:
    """A client of a plain HTTP server that answers each POST with this function."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            answer(self)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        yield Client(Running(0, 0, "", address, address, address, ""), {}, **options)
        server.shutdown()


def test_a_late_answer_is_not_asked_for_twice():
    """The server still works on the first request. A second one would double its load."""
    asked, is_over = [], threading.Event()

    def wait(request: BaseHTTPRequestHandler) -> None:
        asked.append(request.path)
        is_over.wait(30)

    with server_with(wait, patience=0.2) as client:
        with pytest.raises(ServerError, match=r"gave no answer in 0 s"):
            client.predict("echo", b"x")
        is_over.set()
    assert asked == ["/predictions/echo"]


def test_an_answer_that_breaks_off_is_asked_for_again_and_then_reported():
    asked = []

    def break_off(request: BaseHTTPRequestHandler) -> None:
        asked.append(request.path)
        request.send_response(200)
        request.send_header("Content-Length", "100")
        request.end_headers()
        request.wfile.write(b"half")

    with server_with(break_off, retrying=0.5) as client, pytest.raises(Unreachable, match="cannot be reached"):
        client.predict("echo", b"x")
    assert len(asked) > 1


def test_waiting_for_a_model_without_workers_says_how_to_give_it_one(client):
    client.scale("echo", 0)
    try:
        with pytest.raises(ServerError, match='make scale MODEL=echo ARGS="--workers 1"'):
            client.wait_ready("echo", "1.0")
    finally:
        client.scale("echo", 1)
