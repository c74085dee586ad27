"""What can be asked of a running server, over HTTP: predictions, and TorchServe's management API.

Knows nothing of processes, nor of what is printed.
"""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import ReadTimeoutError
from urllib3.util import Retry

from serving.home import Home, Running, ServerError
from serving.tls import Pinned

CONNECT, ANSWER = 5, 120  # seconds
READY = 180  # seconds for a model's workers to start
LOADING = 900  # seconds that registering or scaling may take: TorchServe answers when the workers have loaded the model
TYPES = {".txt": "text/plain; charset=utf-8", ".json": "application/json"}
BYTES = "application/octet-stream"


class Resets(Retry):
    """Ask again where the connection broke, but not where the answer is late: the server still works on the first request."""

    def increment(self, method=None, url=None, response=None, error=None, *rest: Any, **named: Any) -> Retry:
        if isinstance(error, ReadTimeoutError):
            raise error
        return super().increment(method, url, response, error, *rest, **named)


class Client:
    """One server.

    Args:
        server: where it listens.
        keys: its tokens; see `Home.keys`.
        patience: how long an answer may take, in seconds.
        retries: how often to ask again after a broken connection.
    """

    def __init__(self, server: Running, keys: dict[str, str], patience: float = ANSWER, retries: int = 3):
        self.server, self.keys, self.patience = server, keys, patience
        self.session = requests.Session()
        self.session.trust_env = False  # a proxy, or a .netrc, is for other servers
        # TorchServe resets the connection after any answer of 400 and above, so that a pooled one may be dead already.
        # A prediction changes nothing, so asking again is safe.
        policy = Resets(total=retries, status=0, backoff_factor=0.1, allowed_methods=None)
        self.session.mount("http://", HTTPAdapter(max_retries=policy))
        if server.certificate:
            self.session.verify = False  # of whoever signed it: it is compared with the server's own
            self.session.mount("https://", Pinned(Path(server.certificate), max_retries=policy))

    @classmethod
    def of(cls, home: Home) -> "Client":
        """
        Raises:
            ServerError: no server runs there.
        """
        return cls(home.require(), home.keys())

    # --- inference

    def url(self, model: str, version: str | None = None, api: str = "predictions") -> str:
        return "/".join(part for part in (self.server.inference, api, model, version) if part)

    def predict(
        self, model: str, body: bytes, content_type: str = BYTES, version: str | None = None, api: str = "predictions"
    ) -> requests.Response:
        """Send one input; the answer is of any status.

        Raises:
            ServerError: nobody answers.
        """
        headers = self.token("inference") | {"Content-Type": content_type}
        return self.send("POST", self.url(model, version, api), data=body, headers=headers)

    # --- management

    def models(self) -> list[dict[str, Any]]:
        """TorchServe's description of each version of each model: workers, queue, batch size ..."""
        return [version for name in self.names() for version in self.describe(name)]

    def names(self) -> Iterator[str]:
        token = ""
        while token is not None:
            page = self.manage("GET", "/models", limit=100, **({"next_page_token": token} if token else {}))
            yield from (model["modelName"] for model in page["models"])
            token = page.get("nextPageToken")

    def describe(self, model: str, version: str = "all") -> list[dict[str, Any]]:
        """All versions, one, or with "" the default one."""
        return self.manage("GET", f"/models/{model}/{version}".rstrip("/"))

    def register(self, model: str, version: str, log: Path | None = None) -> None:
        """Host `<model>-<version>.mar` of the model store, and return when every worker that its recipe wants is ready.

        Args:
            log: what the workers write, for the reason if one cannot start.

        Raises:
            ServerError: no such archive, or a worker cannot start; the model is not hosted then.
        """
        read_from = log.stat().st_size if log and log.exists() else 0
        try:
            self.manage("POST", "/models", LOADING, url=f"{model}-{version}.mar")
            self.wait_ready(model, version)
        except ServerError as error:
            death = death_in(log, read_from, f"{model}_{version}") if log else None
            if death is None:
                raise
            with contextlib.suppress(ServerError):
                self.unregister(model, version)
            raise ServerError(f"a worker of {model} {version} cannot start: {death}; see {log}") from error

    def unregister(self, model: str, version: str) -> None:
        self.manage("DELETE", f"/models/{model}/{version}")

    def scale(self, model: str, workers: int, version: str | None = None) -> None:
        """Start or end workers, and return when that is done."""
        path = f"/models/{model}/{version}" if version else f"/models/{model}"
        self.manage("PUT", path, LOADING, min_worker=workers, max_worker=workers, synchronous="true")

    def set_default(self, model: str, version: str) -> None:
        self.manage("PUT", f"/models/{model}/{version}/set-default")

    def is_ready(self, model: str, version: str) -> bool:
        """Whether as many workers as the model wants are there, each of them ready."""
        described = self.describe(model, version)[0]
        workers = described["workers"]
        return len(workers) >= described["minWorkers"] > 0 and all(worker["status"] == "READY" for worker in workers)

    def wait_ready(self, model: str, version: str, seconds: float = READY) -> None:
        """
        Raises:
            ServerError: not every worker is ready in time, or the model is scaled to none.
        """
        if self.describe(model, version)[0]["minWorkers"] == 0:
            raise ServerError(f'{model} {version} has no workers; make scale MODEL={model} ARGS="--workers 1" gives it one')
        deadline = time.monotonic() + seconds
        while not self.is_ready(model, version):
            if time.monotonic() > deadline:
                raise ServerError(f"{model} {version}: not every worker is ready after {seconds:.0f} s; see: make status")
            time.sleep(0.1)

    def drain(self, seconds: float) -> None:
        """Wait until no request is queued, and a little longer for those being answered."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if not any(model["jobQueueStatus"]["pendingRequests"] for model in self.models()):
                time.sleep(min(1, max(0, deadline - time.monotonic())))
                return
            time.sleep(0.2)

    def drain_version(self, model: str, version: str, grace: float, seconds: float) -> None:
        """Wait until a version that no longer gets requests has answered those it had: its queue is empty, and `grace` over."""
        deadline = time.monotonic() + seconds
        while self.describe(model, version)[0]["jobQueueStatus"]["pendingRequests"] and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(grace)

    # --- the rest

    def rotate(self, name: str) -> None:
        """Let TorchServe make a new token for "inference" or "management"; it is in `key_file.json` when this returns, and the
        old one is refused.

        Raises:
            ServerError: tokens are switched off, or the server refuses.
        """
        if "API" not in self.keys:
            raise ServerError("there are no tokens to rotate: config.properties says disable_token_authorization=true")
        answer = self.send("GET", f"{self.server.management}/token", params={"type": name}, headers=self.token("API"))
        if not answer.ok:
            raise ServerError(f"the server refused a new {name} token with {answer.status_code}: {answer.text}")

    def metrics(self) -> str:
        """In Prometheus' text format."""
        return self.send("GET", f"{self.server.metrics}/metrics").text

    def is_up(self) -> bool:
        """Whether both APIs answer; whether models are ready is another question."""
        try:
            self.manage("GET", "/models")
            return self.send("GET", f"{self.server.inference}/ping", headers=self.token("inference")).ok
        except ServerError:
            return False

    def token(self, name: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.keys[name]}"} if name in self.keys else {}

    def manage(self, method: str, path: str, patience: float | None = None, **parameters: Any) -> Any:
        """The management API's answer, which may take `patience` seconds; as long as the client's if left out.

        Raises:
            ServerError: with TorchServe's own message.
        """
        url, headers = f"{self.server.management}{path}", self.token("management")
        answer = self.send(method, url, patience, params=parameters, headers=headers)
        try:
            content = answer.json()
        except ValueError:
            content = {}
        if not answer.ok:
            said = content.get("message", answer.text) if isinstance(content, dict) else answer.text
            raise ServerError(f"the server refused {method} {path} with {answer.status_code}: {said}")
        return content

    def send(self, method: str, url: str, patience: float | None = None, **options: Any) -> requests.Response:
        patience = self.patience if patience is None else patience
        try:
            return self.session.request(method, url, timeout=(CONNECT, patience), **options)
        except requests.ConnectionError as error:
            raise ServerError(f"{url} cannot be reached ({type(error.args[0]).__name__}); see: make status") from error
        except requests.Timeout:
            raise ServerError(f"{url} gave no answer in {patience:.0f} s; see: make status") from None


def death_in(log: Path, start: int, worker: str) -> str | None:
    """The error that ended a worker, if the log tells of one since `start`."""
    if not log.exists():
        return None
    with log.open("rb") as file:
        file.seek(start)
        lines = [line for line in file.read().decode(errors="replace").splitlines() if f"-{worker}-" in line]
    messages = [line.partition(" - ")[2] for line in lines]
    for message in messages:
        if message.startswith("this worker cannot start"):  # the bundle's own handlers; a traceback in one line
            return message.rpartition("\\n")[2]
    if not any(message.startswith("Backend worker process died") for message in messages):
        return None
    return [message for message in messages if message and not message.startswith((" ", "Traceback"))][-1]
