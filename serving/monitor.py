"""The monitor: a small process next to the server that says whether it is ready, and has all of its metrics at one address.

    GET /ready                                              200 if the server is ready, 503 with the reasons if not
    GET /v2/health/live, /v2/health/ready                   the same for clients of the Open Inference Protocol
    GET /v2/models/MODEL[/versions/VERSION]/ready           of one model
    GET /v2/models/MODEL[/versions/VERSION]                 its metadata: the tensors that it takes and gives
    GET /metrics                                            for Prometheus

It needs no token and tells no secret. It starts with the server and ends with it; `make serve` starts it again if it was killed.

    python -m serving.monitor FOLDER --server=TEMPORARY
"""

import contextlib
import errno
import http.server
import json
import os
import re
import subprocess
import sys
import threading
import time
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from serving.state import MONITORED, Running, StateDir

if TYPE_CHECKING:
    from serving.metrics import Metrics
    from serving.readiness import Readiness

PROJECT = Path(__file__).resolve().parent.parent
READING = 1  # seconds between two looks into the log of requests
PATIENCE = 10  # seconds that a caller may take to send its request, and a connection may be idle
MODEL = r"/v2/models/([^/]+)(?:/versions/([^/]+))?"
READY, METADATA = re.compile(f"{MODEL}/ready"), re.compile(MODEL)
TEXT, JSON = "text/plain; version=0.0.4; charset=utf-8", "application/json"
HERE = "here are GET /ready, /v2/health/live, /v2/health/ready, /v2/models/MODEL[/ready] and /metrics"


def start(home: StateDir, server: Running) -> None:
    """Start a server's monitor. If one runs already, it has the port, and the new one ends."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    with (home.logs / "monitor.log").open("ab") as log:
        subprocess.Popen(
            [sys.executable, "-m", "serving.monitor", home.folder, f"{MONITORED}{server.temporary}"],
            cwd=PROJECT, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip


def main() -> None:
    from serving.metrics import Metrics  # here: commands that start a monitor do not need what it imports
    from serving.readiness import Readiness
    from serving.request_log import RequestLog

    home = StateDir(sys.argv[1])
    server = home.require()
    requests, readiness = RequestLog(home.logs / "requests.log"), Readiness(home)
    try:
        listener = Listener(server, readiness, Metrics(home, readiness, requests))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return
        raise
    threading.Thread(target=listener.serve_forever, daemon=True).start()
    while (running := home.running()) and running.pid == server.pid:
        readiness.follow()
        with contextlib.suppress(OSError):
            requests.read(home.registered())
        time.sleep(READING)


class Listener(http.server.ThreadingHTTPServer):
    """Listens at the server's `monitor` address.

    Raises:
        OSError: something listens there already.
    """

    daemon_threads = True

    def __init__(self, server: Running, readiness: "Readiness", metrics: "Metrics"):
        url = urlsplit(server.monitor)
        super().__init__((url.hostname, url.port), Caller)
        self.readiness, self.metrics = readiness, metrics

    def handle_error(self, *given) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # a caller that hangs up is no event
            super().handle_error(*given)


class Caller(http.server.BaseHTTPRequestHandler):
    """One connection."""

    protocol_version, timeout, disable_nagle_algorithm = "HTTP/1.1", PATIENCE, True
    server: Listener

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        readiness = self.server.readiness
        if path == "/ready":
            faults = readiness.faults()
            self.answer(not faults, {"ready": not faults, "faults": faults})
        elif path == "/v2/health/ready":
            self.answer(is_ready := not readiness.faults(), {"ready": is_ready})
        elif path == "/v2/health/live":
            self.answer(is_live := readiness.is_live(), {"live": is_live})
        elif asked := READY.fullmatch(path):
            self.answer_about(asked[1], asked[2] or "")
        elif asked := METADATA.fullmatch(path):
            self.describe(asked[1], asked[2])
        elif path == "/metrics":
            from prometheus_client import generate_latest

            self.send(HTTPStatus.OK, generate_latest(self.server.metrics), TEXT)
        else:
            self.refuse(HERE)

    do_HEAD = do_GET

    def answer_about(self, model: str, version: str) -> None:
        try:
            is_ready = self.server.readiness.fault(model, version) is None
        except LookupError:
            self.refuse(f"no model {model!r}" + (f" of version {version!r}" if version else "") + " should be hosted here")
        else:
            self.answer(is_ready, {"name": model, "ready": is_ready})

    def describe(self, model: str, version: str | None) -> None:
        """The metadata of a version that should be hosted, from its archive."""
        from serving.describe import metadata
        from serving.errors import ServerError

        try:
            self.send(HTTPStatus.OK, json.dumps(metadata(self.server.readiness.home, model, version)).encode(), JSON)
        except ServerError as error:
            self.refuse(str(error))

    def answer(self, is_so: bool, said: dict) -> None:
        self.send(HTTPStatus.OK if is_so else HTTPStatus.SERVICE_UNAVAILABLE, json.dumps(said).encode(), JSON)

    def refuse(self, message: str) -> None:
        said = {"code": HTTPStatus.NOT_FOUND, "type": "NotFound", "message": message}
        self.send(HTTPStatus.NOT_FOUND, json.dumps(said).encode(), JSON)

    def send(self, status: HTTPStatus, body: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def version_string(self) -> str:
        return "monitor"

    def log_message(self, *_) -> None:
        """A probe each second is no event."""


if __name__ == "__main__":
    main()
