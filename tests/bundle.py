"""Real TorchServes with trained models, for the tests of several folders. Each server has free ports and a folder of its own.

This is a plugin of pytest: if two conftests imported the fixtures, each would start its own servers.
"""

import contextlib
import fcntl
import hashlib
import json
import platform
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from archive.build import build
from model_defs.answer_diff import difference
from serving import server
from serving.client import BYTES, TYPES, Client
from serving.config import free_ports
from serving.registry import Registry
from serving.state import StateDir

# Enough to answer well; the full trainings are `make train`'s.
OVERRIDES = {
    "digits": ["--trainer.max_epochs=8"],
    "sounds": ["--trainer.max_epochs=4", "--data.per_class=60"],
    "intents": ["--trainer.max_epochs=15"],
}
STARTERS = Path(".pytest_cache/starters").absolute()
MADE_OF = {".py", ".yaml", ".csv"}
DONE = "done"  # a file that says that all of them are trained
STARTING: list[str] = []  # the setting of `--fork-workers`
ROUNDING = 1e-6  # of a score: another row in the batch, such as a sample that the monitor sends, changes its last digits
DELAY = 200  # ms: long enough for eight requests to meet in one batch


def differ(one: Any, other: Any) -> str | None:
    """How two answers to the same input differ, apart from `ROUNDING`."""
    return difference(one, other, ROUNDING)


class Bundle:
    """A running server as a caller sees it."""

    def __init__(self, home: StateDir, artifacts: Path, store: Path):
        self.home, self.artifacts, self.store = home, artifacts, store
        self.client = Client.of(home)
        self.key = self.client.keys["inference"]
        self.header_file = home.header("inference")

    def url(self, model: str, api: str = "predictions") -> str:
        return self.client.url(model, api=api)

    def post(self, model: str, api: str = "predictions", headers: dict | None = None, **options) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.key}"} | (headers or {})
        return requests.post(self.url(model, api), headers=headers, timeout=30, **options)

    def predict(self, model: str, body: bytes, headers: dict | None = None) -> requests.Response:
        return self.post(model, data=body, headers={"Content-Type": self.content_type(model)} | (headers or {}))

    def explain(self, model: str, body: bytes) -> requests.Response:
        return self.post(model, "explanations", data=body, headers={"Content-Type": self.content_type(model)})

    def content_type(self, model: str) -> str:
        return TYPES[".txt"] if model == "intents" else BYTES

    def samples(self, model: str) -> list[tuple[dict, bytes]]:
        folder = self.artifacts / model / "samples"
        return [(entry, (folder / entry["file"]).read_bytes()) for entry in json.loads((folder / "expected.json").read_bytes())]

    def setting(self, name: str) -> int:
        return int(re.search(rf"^{name}=(\d+)$", (self.home.folder / "config.properties").read_text(), re.M)[1])

    def metric(self, name: str, model: str, **labels: str) -> float:
        """The value of a metric; 0 if TorchServe has not reported it yet."""
        wanted = {"ModelName": model, **labels}
        for line in self.client.metrics().splitlines():
            if line.startswith(f"{name}{{") and all(f'{key}="{value}"' in line for key, value in wanted.items()):
                return float(line.rpartition(" ")[2])
        return 0.0

    def full_batches(self, model: str, size: int) -> int:
        """The number of batches of so many requests."""
        return int(self.metric("Batches", model, Size=str(size)))


def wait_for(happened: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, f"it did not happen within {seconds} s"
        time.sleep(0.05)


def pytest_addoption(parser):
    parser.addoption(
        "--fork-workers", choices=("true", "false"), default="true", help="start the workers as forks, or each alone"
    )


def pytest_configure(config):
    STARTING.append(f"fork_workers={config.getoption('--fork-workers')}")


def settings_for(store: Path) -> list[str]:
    """The settings of a server for tests: free ports, this store, and workers that start as the command line says."""
    return [*free_ports(), f"model_store={store}", "explanation_workers=false", *STARTING]


def trained(overrides: dict[str, list[str]], folder: Path) -> Path:
    """Train these configs, each with its overrides. Returns the folder of the artifacts, `folder`/artifacts."""
    from train.__main__ import train  # imports lightning, which takes seconds

    for name, changes in overrides.items():
        train(name, changes, folder / "artifacts", folder / "runs")
    return folder / "artifacts"


@pytest.fixture(scope="session")
def artifacts() -> Path:
    """The starter models. They are trained once for all test processes, and again only when something that makes them changes."""
    folder = STARTERS / fingerprint()
    STARTERS.mkdir(parents=True, exist_ok=True)
    with (STARTERS / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / DONE).exists():
            for old in filter(Path.is_dir, STARTERS.iterdir()):
                shutil.rmtree(old)
            trained(OVERRIDES, folder)
            (folder / DONE).touch()
    return folder / "artifacts"


def fingerprint() -> str:
    """A hash of what the starter models are made of: code, configs, data, settings and libraries."""
    files = sorted(file for folder in ("train", "model_defs") for file in Path(folder).rglob("*") if file.suffix in MADE_OF)
    digest = hashlib.sha256(repr(OVERRIDES).encode() + platform.python_version().encode())
    for file in [*files, Path("requirements/train.txt")]:
        digest.update(str(file).encode() + file.read_bytes())
    return digest.hexdigest()[:16]


@contextlib.contextmanager
def serving(artifacts: Path, folder: Path, changes: dict, models: Iterable[str] = OVERRIDES) -> Iterator[Bundle]:
    """A server of the models, with the bundle's own recipes and `changes` to them."""
    for name in models:
        recipe = yaml.safe_load(Path(f"archive/recipes/{name}.yaml").read_text())
        changed = folder / f"{name}.yaml"
        changed.write_text(yaml.safe_dump(recipe | changes))
    with serving_archives(artifacts, folder, folder, models) as bundle:
        yield bundle


@contextlib.contextmanager
def serving_archives(artifacts: Path, folder: Path, recipes: Path, models: Iterable[str]) -> Iterator[Bundle]:
    """A server of the models, with the recipes as they are in their folder."""
    for name in models:
        build(artifacts / name, recipes / f"{name}.yaml", folder / "store")
    home = StateDir(folder / ".torchserve")
    server.start(home, overrides=settings_for(folder / "store"))
    try:
        registry = Registry(home)
        for name in models:
            registry.host(name, "1.0")
        yield Bundle(home, artifacts, folder / "store")
    finally:
        server.stop(home)


@pytest.fixture(scope="session")
def bundle(artifacts, tmp_path_factory):
    """One worker per model. A batch waits until it is full."""
    changes = {"minWorkers": 1, "batchSize": 8, "maxBatchDelay": DELAY}
    with serving(artifacts, tmp_path_factory.mktemp("bundle"), changes) as served:
        yield served


@pytest.fixture(scope="session")
def production(artifacts, tmp_path_factory):
    """A server as `make serve` starts it."""
    with serving(artifacts, tmp_path_factory.mktemp("production"), {}) as served:
        yield served
