"""What can be asked of a running server, over HTTP: predictions, and TorchServe's management API.

Knows nothing of processes, nor of what is printed.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from itertools import dropwhile
from pathlib import Path
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import ReadTimeoutError
from urllib3.util import Retry

from serving import retry
from serving.state import Running, ServerError, StateDir
from serving.tls import Pinned

CONNECT, ANSWER = 5, 120  # seconds
READY = 900  # seconds for a model's workers to start; each has the recipe's startupTimeout
RETRYING = 60  # seconds for which a prediction is sent again
POLLING = 0.1  # seconds
TYPES = {".txt": "text/plain; charset=utf-8", ".json": "application/json"}
BYTES = "application/octet-stream"


class Unreachable(ServerError):
    """Nobody is there, or the connection broke before an answer came."""


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
        keys: its tokens; see `StateDir.keys`.
        patience: how long an answer may take, in seconds.
        retrying: for how long a prediction is sent again, in seconds, where no answer came or one that says nothing of the
            input; see `retry.is_passing`.
        home: where to look whether the server has been started anew, with other tokens.
    """

    def __init__(
        self,
        server: Running,
        keys: dict[str, str],
        patience: float = ANSWER,
        retrying: float = RETRYING,
        home: StateDir | None = None,
    ):
        self.server, self.keys, self.patience, self.retrying, self.home = server, keys, patience, retrying, home
        self.session = requests.Session()
        self.session.trust_env = False  # a proxy, or a .netrc, is for other servers
        # TorchServe resets the connection after any answer of 400 and above, so that a pooled one may be dead already.
        policy = Resets(total=3 if retrying else 0, status=0, backoff_factor=0.1, allowed_methods=None)
        self.session.mount("http://", HTTPAdapter(max_retries=policy))
        if server.certificate:
            self.session.verify = False  # of whoever signed it: it is compared with the server's own
            self.session.mount("https://", Pinned(Path(server.certificate), max_retries=policy))

    @classmethod
    def of(cls, home: StateDir, **options: float) -> "Client":
        """
        Raises:
            ServerError: no server runs there.
        """
        return cls(home.require(), home.keys(), home=home, **options)

    # --- inference

    def url(self, model: str, version: str | None = None, api: str = "predictions") -> str:
        return "/".join(part for part in (self.server.inference, api, model, version) if part)

    def predict(
        self, model: str, body: bytes, content_type: str = BYTES, version: str | None = None, api: str = "predictions"
    ) -> requests.Response:
        """Send one input, and again while the server cannot tell; the answer is of any status.

        Raises:
            ServerError: nobody answers.
        """
        for _ in retry.pauses(self.retrying):
            answer = None
            try:
                headers = self.token("inference") | {"Content-Type": content_type}
                answer = self.send("POST", self.url(model, version, api), data=body, headers=headers)
                if not (retry.is_passing(answer) or self.is_returning(answer, model)):
                    return answer
            except Unreachable as error:
                failure = error
            self.look_again()
        if answer is None:
            raise failure
        return answer

    def is_returning(self, answer: requests.Response, model: str) -> bool:
        """Whether a model is not there yet, of a server that was started anew and will host it again."""
        return answer.status_code == 404 and self.home is not None and model in self.home.remembered()

    def look_again(self) -> None:
        """Take the address and the tokens of the server that runs now, if one does."""
        server = self.home.running() if self.home else None
        if server and not server.is_stopping:
            self.server, self.keys = server, self.home.keys()

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
        check = watch(log, model, version)
        # Not synchronously: TorchServe would wait in a thread that serves callers' connections, and they would wait with it.
        self.manage("POST", "/models", url=f"{model}-{version}.mar", synchronous="false")
        try:
            self.wait_ready(model, version, check=check)
        except ServerError:
            with contextlib.suppress(ServerError):
                self.unregister(model, version)
            raise

    def unregister(self, model: str, version: str) -> None:
        self.manage("DELETE", f"/models/{model}/{version}")

    def scale(self, model: str, workers: int, version: str | None = None, log: Path | None = None) -> str:
        """Start or end workers, and return when that is done, with the version; for `log` and the errors see `register`."""
        version = version or self.describe(model, "")[0]["modelVersion"]
        check = watch(log, model, version)
        path = f"/models/{model}/{version}"
        self.manage("PUT", path, min_worker=workers, max_worker=workers, synchronous="false")
        deadline = time.monotonic() + READY
        while len(self.describe(model, version)[0]["workers"]) != workers:
            if time.monotonic() > deadline:
                raise ServerError(f"{model} {version}: not {workers} workers after {READY} s; see: make status")
            time.sleep(POLLING)
        if workers:
            self.wait_ready(model, version, check=check)
        return version

    def set_default(self, model: str, version: str) -> None:
        self.manage("PUT", f"/models/{model}/{version}/set-default")

    def is_ready(self, model: str, version: str) -> bool:
        """Whether as many workers as the model wants are there, each of them ready."""
        described = self.describe(model, version)[0]
        workers = described["workers"]
        return len(workers) >= described["minWorkers"] > 0 and all(worker["status"] == "READY" for worker in workers)

    def wait_ready(self, model: str, version: str, seconds: float = READY, check: Callable[[], None] = lambda: None) -> None:
        """
        Args:
            check: called again and again; what it raises ends the waiting.

        Raises:
            ServerError: not every worker is ready in time, or the model is scaled to none.
        """
        if self.describe(model, version)[0]["minWorkers"] == 0:
            raise ServerError(f'{model} {version} has no workers; make scale MODEL={model} ARGS="--workers 1" gives it one')
        deadline = time.monotonic() + seconds
        while not self.is_ready(model, version):
            check()
            if time.monotonic() > deadline:
                raise ServerError(f"{model} {version}: not every worker is ready after {seconds:.0f} s; see: make status")
            time.sleep(POLLING)

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

    # --- the rest

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

    def manage(self, method: str, path: str, **parameters: Any) -> Any:
        """The management API's answer.

        Raises:
            ServerError: with TorchServe's own message.
        """
        url, headers = f"{self.server.management}{path}", self.token("management")
        answer = self.send(method, url, params=parameters, headers=headers)
        try:
            content = answer.json()
        except ValueError:
            content = {}
        if not answer.ok:
            said = content.get("message", answer.text) if isinstance(content, dict) else answer.text
            raise ServerError(f"the server refused {method} {path} with {answer.status_code}: {said}")
        return content

    def send(self, method: str, url: str, **options: Any) -> requests.Response:
        try:
            return self.session.request(method, url, timeout=(CONNECT, self.patience), **options)
        except requests.ConnectionError as error:
            raise Unreachable(f"{url} cannot be reached ({type(error.args[0]).__name__}); see: make status") from error
        except requests.Timeout:
            raise ServerError(f"{url} gave no answer in {self.patience:.0f} s; see: make status") from None


def watch(log: Path | None, model: str, version: str) -> Callable[[], None]:
    """What raises a ServerError once the log tells, from now on, of a worker of the model that cannot start."""
    read_from = log.stat().st_size if log and log.exists() else 0

    def check() -> None:
        if log and (death := death_in(log, read_from, f"{model}_{version}")):
            raise ServerError(f"a worker of {model} {version} cannot start: {death}; see {log}")

    return check


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
    since = dropwhile(lambda message: not message.startswith("Backend worker process died"), messages)
    next(since, None)
    # A traceback follows, line by line, and may not be there yet.
    return next((message for message in since if message and not message.startswith((" ", "Traceback"))), None)
