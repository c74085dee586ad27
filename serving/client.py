"""A client of the running server over HTTP: predictions, and TorchServe's management API."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import ReadTimeoutError
from urllib3.util import Retry

from model_defs.bundle_format import EXPLAINER
from serving import retry
from serving.errors import ServerError, Unreachable
from serving.state import Running, StateDir
from serving.tls import Pinned
from serving.worker_log import watch

CONNECT, ANSWER = 5, 120  # seconds: to connect, and to answer
READY = 900  # seconds for all workers of a model to start; the recipe's startupTimeout limits each of them
RETRYING = 60  # seconds during which a prediction is sent again
POLLING = 0.1  # seconds between two looks
TYPES = {".txt": "text/plain; charset=utf-8", ".json": "application/json"}
BYTES = "application/octet-stream"
PATHS = {"v1": "/v1/models/{}:predict", "v2": "/v2/models/{}/infer"}


class Resets(Retry):
    """Retry if the connection broke, but not if the answer is late: the server still works on the first request."""

    def increment(self, method=None, url=None, response=None, error=None, *rest: Any, **named: Any) -> Retry:
        if isinstance(error, ReadTimeoutError):
            raise error
        return super().increment(method, url, response, error, *rest, **named)


class Client:
    """A client of one server.

    Args:
        server: where it listens.
        keys: its tokens; see `StateDir.keys`.
        patience: how many seconds an answer may take.
        retrying: during how many seconds a prediction is sent again, if no answer came or a transient one (`retry.is_transient`).
        home: where to find the address and the tokens of the server after a restart; None: the client does not look.
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
        self.session.trust_env = False  # a proxy or a .netrc file is for other servers
        # TorchServe resets the connection after each answer of 400 and above, so a pooled connection may be dead.
        policy = Resets(total=3 if retrying else 0, status=0, backoff_factor=0.1, allowed_methods=None)
        self.session.mount("http://", HTTPAdapter(max_retries=policy))
        if server.certificate:
            self.session.verify = False  # who signed the certificate does not matter: it must equal the server's own
            self.session.mount("https://", Pinned(Path(server.certificate), max_retries=policy))

    @classmethod
    def of(cls, home: StateDir, **options: float) -> "Client":
        """A client of the server that runs there.

        Raises:
            ServerError: no server runs there.
        """
        return cls(home.require(), home.keys(), home=home, **options)

    # --- inference

    def url(self, model: str, version: str | None = None, api: str = "predictions") -> str:
        """The address of a model in one of TorchServe's APIs, or in a protocol of `PATHS`, which have no versions there."""
        if api in PATHS:
            return f"{self.server.inference}{PATHS[api].format(model)}"
        return "/".join(part for part in (self.server.inference, api, model, version) if part)

    def predict(
        self,
        model: str,
        body: bytes,
        content_type: str = BYTES,
        version: str | None = None,
        api: str = "predictions",
        more: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Send one input, and again after a transient answer. The answer may have any status.

        Args:
            more: headers.

        Raises:
            ServerError: no answer came.
        """
        for _ in retry.pauses(self.retrying):
            answer = None
            try:
                headers = self.token("inference") | {"Content-Type": content_type, **(more or {})}
                answer = self.send("POST", self.url(model, version, api), data=body, headers=headers)
                if not (retry.is_transient(answer) or self.is_being_restored(answer, model, version)):
                    return answer
            except Unreachable as error:
                failure = error
            self.look_again()
        if answer is None:
            raise failure
        return answer

    def is_being_restored(self, answer: requests.Response, model: str, version: str | None) -> bool:
        """Whether the version is only missing because the server was restarted and has not hosted it again yet."""
        known = self.home.registered().get(model) if answer.status_code == 404 and self.home else None
        return known is not None and (version is None or version in known.versions)

    def look_again(self) -> None:
        """Take the address and the tokens of the server that runs now, if one runs."""
        server = self.home.running() if self.home else None
        if server and not server.is_stopping:
            self.server, self.keys = server, self.home.keys()

    # --- management

    def models(self) -> list[dict[str, Any]]:
        """TorchServe's description of each version of each model: workers, queue, batch size and more."""
        return [version for name in self.names() for version in self.describe(name)]

    def everything(self) -> list[dict[str, Any]]:
        """`models`, and also the entries whose workers explain them."""
        return [version for name in self.entries() for version in self.describe(name)]

    def names(self) -> Iterator[str]:
        return (name for name in self.entries() if not name.endswith(EXPLAINER))

    def entries(self) -> Iterator[str]:
        """The names under which TorchServe hosts something."""
        token = ""
        while token is not None:
            page = self.manage("GET", "/models", limit=100, **({"next_page_token": token} if token else {}))
            yield from (model["modelName"] for model in page["models"])
            token = page.get("nextPageToken")

    def describe(self, model: str, version: str = "all") -> list[dict[str, Any]]:
        """TorchServe's description of all versions, of one, or with "" of the default one."""
        return self.manage("GET", f"/models/{model}/{version}".rstrip("/"))

    def register(self, model: str, version: str, log: Path | None = None, ending: str = "") -> None:
        """Register `<model>-<version>.mar` of the model store, and return when all workers of its recipe are ready.

        Args:
            log: the workers' log, to find the reason if a worker cannot start.
            ending: of the name under which it is hosted. With `EXPLAINER` it gets one worker.

        Raises:
            ServerError: no such archive, or a worker cannot start. Then the model is not registered.
        """
        archive, model = f"{model}-{version}.mar", model + ending
        check = watch(log, model, version)
        # Asynchronous: otherwise TorchServe waits in a thread that serves connections, and other callers wait with it.
        named = {"model_name": model} if ending else {}
        self.manage("POST", "/models", url=archive, synchronous="false", **named)
        try:
            self.wait_ready(model, version, check=check)
        except ServerError:
            with contextlib.suppress(ServerError):
                self.unregister(model, version)
            raise

    def unregister(self, model: str, version: str) -> None:
        self.manage("DELETE", f"/models/{model}/{version}")

    def scale(self, model: str, workers: int, version: str | None = None, log: Path | None = None) -> str:
        """Start or end workers until there are so many, and return the version. For `log` and the errors see `register`."""
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
        """Whether the model has as many workers as it wants, and all are ready."""
        described = self.describe(model, version)[0]
        workers = described["workers"]
        return len(workers) >= described["minWorkers"] > 0 and all(worker["status"] == "READY" for worker in workers)

    def wait_ready(self, model: str, version: str, seconds: float = READY, check: Callable[[], None] = lambda: None) -> None:
        """Return when all workers of the model are ready.

        Args:
            check: called between two looks; an exception that it raises ends the wait.

        Raises:
            ServerError: not every worker is ready in time, or the model is scaled to 0 workers.
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
        """Let TorchServe make a new token for "inference" or "management".

        When this returns, the new token is in `key_file.json`, and TorchServe refuses the old one.

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
        """The server's metrics in the text format of Prometheus."""
        return self.send("GET", f"{self.server.metrics}/metrics").text

    def is_up(self) -> bool:
        """Whether both APIs answer. It does not say whether models are ready."""
        try:
            self.manage("GET", "/models")
            return self.send("GET", f"{self.server.inference}/ping", headers=self.token("inference")).ok
        except ServerError:
            return False

    def token(self, name: str) -> dict[str, str]:
        """The request header with the token for "inference", "management" or "API"; empty if tokens are switched off."""
        return {"Authorization": f"Bearer {self.keys[name]}"} if name in self.keys else {}

    def manage(self, method: str, path: str, **parameters: Any) -> Any:
        """Send a request to the management API, and return its JSON answer.

        Raises:
            ServerError: TorchServe refuses; the message repeats its own.
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
        """Send a request, and return the answer of any status.

        Raises:
            Unreachable: no connection, or it broke.
            ServerError: no answer in time.
        """
        try:
            return self.session.request(method, url, timeout=(CONNECT, self.patience), **options)
        except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError) as error:  # before or in the body
            raise Unreachable(f"{url} cannot be reached ({type(error.args[0]).__name__}); see: make status") from error
        except requests.Timeout:
            raise ServerError(f"{url} gave no answer in {self.patience:.0f} s; see: make status") from None
