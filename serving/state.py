"""`.torchserve/`: what is on disk of a server, running or not.

    server.json           which process it is, and where it listens
    key_file.json         TorchServe's tokens
    *.header              one token each, as curl's `-H @file` reads it
    proxy.token           what a proxy says to TorchServe; there while all models are ready
    certificate.pem       its certificate, where it speaks TLS
    config.properties     the settings that it was started with
    registered.json       which archives it was given, by their SHA-256
    logs/

Knows nothing of HTTP, nor of how a server is started.
"""

import json
import os
import time
from pathlib import Path
from typing import Any

import msgspec
import psutil

from model_defs.errors import BundleError

FOLDER = Path(".torchserve")
PASSING = 1  # seconds in which a proxy has seen that it must hold back, and passed on what it had
HEADERS = ("inference", "management")


class ServerError(BundleError):
    """Something that the user can act on; the message says what and how."""


class Running(msgspec.Struct):
    """`server.json`.

    Args:
        pid: of the Java process, and of its process group.
        created: when that process began, seconds since 1970: a number alone may be another process's after a reboot.
        temporary: the server's own folder for sockets and unpacked models; its name stands in each worker's command line.
        inference, management, metrics: where it listens.
        model_store: where its archives lie.
        certificate: a copy of the one that it started with, if it speaks TLS.
        is_stopping: it takes in nothing more.
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


class StateDir:
    """The folder and the files in it."""

    def __init__(self, folder: Path | str = FOLDER):
        self.folder = Path(folder).absolute()
        self.state, self.keys_file, self.registered = (
            self.folder / name for name in ("server.json", "key_file.json", "registered.json")
        )
        self.certificate, self.proxy = self.folder / "certificate.pem", self.folder / "proxy.token"
        self.logs = self.folder / "logs"
        self.workers_log = self.logs / "workers.log"

    def make(self) -> None:
        """Readable by its owner alone: it holds tokens.

        Raises:
            ServerError: the folder cannot be made.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.folder.chmod(0o700)
            self.logs.mkdir(exist_ok=True)
        except OSError as error:
            raise ServerError(f"{self.folder} cannot be the server's folder: {error.strerror}; name another: --home") from None

    def last(self) -> Running | None:
        """The server that was started last, whether it still runs or not."""
        try:
            return msgspec.json.decode(self.state.read_bytes(), type=Running)
        except FileNotFoundError:
            return None
        except msgspec.DecodeError:  # written half, by a machine that went down
            return None

    def running(self) -> Running | None:
        """The server, if it runs."""
        server = self.last()
        return server if server and is_running(server) else None

    def require(self) -> Running:
        """
        Raises:
            ServerError: no server runs.
        """
        server = self.running()
        if server is None:
            raise ServerError("no server runs here; start one with: make serve")
        return server

    def remembered(self) -> dict[str, Any]:
        """The models that the server hosts, or hosted when it ended; see `Registry`."""
        try:
            return json.loads(self.registered.read_bytes())
        except (FileNotFoundError, json.JSONDecodeError):
            return {}

    def write(self, server: Running) -> None:
        replace(self.state, msgspec.json.encode(server))

    def keys(self) -> dict[str, str]:
        """The tokens by what they are for: "inference", "management", "API"; empty where tokens are switched off."""
        try:
            return {name: entry["key"] for name, entry in json.loads(self.keys_file.read_bytes()).items()}
        except (FileNotFoundError, json.JSONDecodeError):  # or TorchServe is just writing it
            return {}

    def write_headers(self) -> None:
        keys = self.keys()
        for name in HEADERS:
            if name in keys:
                replace(self.header(name), f"Authorization: Bearer {keys[name]}\n".encode())

    def hold_back(self) -> bool:
        """Let a proxy hold back what comes from now on, and return when what it had passed on is with the server; False if no
        proxy was told to pass anything on."""
        is_admitted = self.proxy.exists()
        if is_admitted:
            self.proxy.unlink()
            time.sleep(PASSING)
        return is_admitted

    def admit(self) -> None:
        """Tell a proxy that requests may come, and the token to send them with (docs/haproxy.lua)."""
        replace(self.proxy, f"Bearer {self.keys().get('inference', 'none')}\n".encode())

    def header(self, name: str) -> Path:
        return self.folder / f"{name}.header"

    def log_tail(self, name: str, lines: int = 15) -> str:
        """The last lines of one of the logs."""
        try:
            return "\n".join((self.logs / name).read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
        except FileNotFoundError:
            return ""


def is_running(server: Running) -> bool:
    """Whether the process of that number is that server: begun when it was, or, since a clock that is put right moves the
    beginning of every process, bearing the name of its temporary folder."""
    try:
        process = psutil.Process(server.pid)
        is_same = abs(process.create_time() - server.created) < 1 or belongs(server.temporary, process.cmdline())
        return is_same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def belongs(temporary: str, command: list[str]) -> bool:
    """Whether a command line is of the server with that temporary folder, or of one of its workers."""
    marks = (f"-Djava.io.tmpdir={temporary}", f"{temporary}/.ts.sock.")
    return bool(temporary) and any(argument == marks[0] or argument.startswith(marks[1]) for argument in command)


def replace(file: Path, content: bytes) -> None:
    """Write a file that only its owner reads, whole or not at all."""
    new = file.with_name(f".{file.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as opened:
        opened.write(content)
    new.replace(file)
