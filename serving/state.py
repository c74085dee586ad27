"""The server's state directory, `.torchserve/`: what is on disk about a server, running or not.

server.json           which process the server is, and where it listens
key_file.json         TorchServe's tokens
*.header              one token each, in the form that curl's `-H @file` reads
explained.list        the models whose explanations have workers of their own, one per line, for a proxy
proxy.token           what a proxy sends to TorchServe; exists while all models are ready
certificate.pem       the server's certificate, if it speaks TLS
config.properties     the settings that the server was started with
registered.json       the registered archives, with their SHA-256
logs/
locks/                empty files, see `StateDir.lock`
"""

import contextlib
import fcntl
import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil

from serving.errors import ServerError
from serving.fork_client import SOCKET

FOLDER = Path(".torchserve")
PASSING = 1  # seconds until a proxy has seen that it must hold requests back, and has passed on those that it had
HEADERS = ("inference", "management")
MONITORED = "--server="  # before the temporary folder, in the monitor's command line


class Running(msgspec.Struct):
    """`server.json`.

    Args:
        pid: of the Java process, which leads its own process group.
        created: when that process started, in seconds since 1970. After a reboot another process may have the same pid.
        temporary: the server's folder for sockets and unpacked archives. Each worker's command line names it.
        inference, management, metrics: the URLs at which the server listens.
        model_store: the folder with its archives.
        certificate: a copy of the server's certificate, if it speaks TLS.
        is_stopping: the server refuses new requests.
        monitor: the URL at which its monitor listens (serving/monitor.py).
        has_explainers: explanations have workers of their own.
    """

    pid: int
    created: float
    temporary: str
    inference: str
    management: str
    metrics: str
    model_store: str
    certificate: str = ""
    is_stopping: bool = False
    monitor: str = ""
    has_explainers: bool = False


class RegisteredModel(msgspec.Struct):
    """The versions of one model in `registered.json`.

    Args:
        default: the version that answers if a request names none.
        previous: the default version before the last promotion.
        versions: the SHA-256 of each version's archive; "" if a start wanted it and could not host it.
        workers: how many workers `make scale` gave a version; without an entry the recipe says it.
    """

    default: str
    previous: str | None = None
    versions: dict[str, str] = {}
    workers: dict[str, int] = {}


class StateDir:
    """The folder, and the files in it."""

    def __init__(self, folder: Path | str = FOLDER):
        self.folder = Path(folder).absolute()
        self.server_file, self.keys_file, self.registered_file = (
            self.folder / name for name in ("server.json", "key_file.json", "registered.json")
        )
        self.certificate, self.proxy = self.folder / "certificate.pem", self.folder / "proxy.token"
        self.explained = self.folder / "explained.list"
        self.logs = self.folder / "logs"
        self.workers_log = self.logs / "workers.log"

    def make(self) -> None:
        """Make the folder, for its owner only, because it holds tokens.

        Raises:
            ServerError: the folder cannot be made.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.folder.chmod(0o700)
            self.logs.mkdir(exist_ok=True)
        except OSError as error:
            raise ServerError(f"{self.folder} cannot be the server's folder: {error.strerror}; name another: --home") from None

    @contextlib.contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Hold a lock; other processes and threads that want it wait. The system frees it if the process is killed.

        The locks, each taken before those after it: `server` to start and stop, `model-<name>` to change a model's versions,
        `tokens` to change the tokens or the files that repeat them, `registered` to change `registered.json`. A lock cannot be
        taken again by who holds it.
        """
        folder = self.folder / "locks"
        folder.mkdir(exist_ok=True)
        with (folder / name).open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    # --- the process

    def last(self) -> Running | None:
        """The server that was started last, running or not."""
        try:
            return msgspec.json.decode(self.server_file.read_bytes(), type=Running)
        except (FileNotFoundError, msgspec.DecodeError):  # damaged by a machine that went down
            return None

    def running(self) -> Running | None:
        """The server, if it runs."""
        server = self.last()
        return server if server and is_running(server) else None

    def require(self) -> Running:
        """The server.

        Raises:
            ServerError: no server runs.
        """
        server = self.running()
        if server is None:
            raise ServerError("no server runs here; start one with: make serve")
        return server

    def write(self, server: Running) -> None:
        replace(self.server_file, msgspec.json.encode(server))

    def log_tail(self, name: str, lines: int = 15) -> str:
        """The last lines of one of the logs."""
        try:
            return "\n".join((self.logs / name).read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
        except FileNotFoundError:
            return ""

    # --- the models

    def registered(self) -> dict[str, RegisteredModel]:
        """The models that the server hosts, or hosted when it ended."""
        try:
            return msgspec.json.decode(self.registered_file.read_bytes(), type=dict[str, RegisteredModel])
        except (FileNotFoundError, msgspec.DecodeError):
            return {}

    def remember(self, model: str, registered: RegisteredModel | None) -> None:
        """Set one model in `registered.json`, or remove it. Other processes may change other models at the same time."""
        with self.lock("registered"):
            models = {name: known for name, known in self.registered().items() if name != model}
            if registered:
                models[model] = registered
            replace(self.registered_file, msgspec.json.format(msgspec.json.encode(models), indent=1))

    # --- the tokens

    def keys(self) -> dict[str, str]:
        """The tokens by their use: "inference", "management", "API". Empty if tokens are switched off."""
        try:
            return {name: entry["key"] for name, entry in json.loads(self.keys_file.read_bytes()).items()}
        except (FileNotFoundError, json.JSONDecodeError):  # TorchServe may be writing it at this moment
            return {}

    def header(self, name: str) -> Path:
        return self.folder / f"{name}.header"

    def write_headers(self) -> None:
        """Write the tokens of `key_file.json` for curl. Hold the lock `tokens`."""
        keys = self.keys()
        for name in HEADERS:
            if name in keys:
                replace(self.header(name), f"Authorization: Bearer {keys[name]}\n".encode())

    def hold_back(self) -> bool:
        """Tell a proxy to hold requests back, and wait until those that it passed on are with the server. Hold the lock `tokens`.

        Returns:
            Whether a proxy was allowed to pass requests on before.
        """
        try:
            self.proxy.unlink()
        except FileNotFoundError:
            return False
        time.sleep(PASSING)
        return True

    def admit(self) -> None:
        """Tell a proxy that it may pass requests on, and with which token (docs/haproxy.lua). Hold the lock `tokens`."""
        replace(self.proxy, f"Bearer {self.keys().get('inference', 'none')}\n".encode())


def is_running(server: Running) -> bool:
    """Whether the process with that pid is that server.

    It is if it started at the same time, or if its command line names the server's folder: setting the system's clock changes
    the start time that every process reports.
    """
    try:
        process = psutil.Process(server.pid)
        is_same = abs(process.create_time() - server.created) < 1 or belongs(server.temporary, process.cmdline())
        return is_same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def belongs(temporary: str, command: list[str]) -> bool:
    """Whether a command line is that of the server with this temporary folder, its fork server, its monitor, or a worker."""
    whole = {f"-Djava.io.tmpdir={temporary}", f"{temporary}/{SOCKET}", MONITORED + temporary}
    worker = f"{temporary}/.ts.sock."
    return bool(temporary) and any(argument in whole or argument.startswith(worker) for argument in command)


def replace(file: Path, content: bytes) -> None:
    """Write a file that only its owner can read. Readers see the old content or the new one, never a part."""
    descriptor, new = tempfile.mkstemp(prefix=f".{file.name}-", dir=file.parent)  # its own name: others may write at once
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(content)
    os.replace(new, file)
