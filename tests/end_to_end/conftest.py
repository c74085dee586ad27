"""One real TorchServe for all end-to-end tests: three models trained for a few epochs, on free ports, in folders of its own."""

import json
import re
from pathlib import Path

import pytest
import requests
import yaml

from archive.build import build
from serving import server
from serving.client import BYTES, TYPES, Client
from serving.home import Home
from tests.servers import free_ports
from train.__main__ import quiet, train

# Enough to answer well; the full trainings are `make train`'s.
OVERRIDES = {
    "digits": ["--trainer.max_epochs=8"],
    "sounds": ["--trainer.max_epochs=4", "--data.per_class=60"],
    "intents": ["--trainer.max_epochs=15"],
}
DELAY = 200  # ms: long enough for eight requests to meet in one batch


class Bundle:
    """The running server as a caller sees it."""

    def __init__(self, home: Home, artifacts: Path, store: Path):
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
        """A metric's value; 0 before its first appearance."""
        wanted = {"ModelName": model, **labels}
        for line in self.client.metrics().splitlines():
            if line.startswith(f"{name}{{") and all(f'{key}="{value}"' in line for key, value in wanted.items()):
                return float(line.rpartition(" ")[2])
        return 0.0

    def full_batches(self, model: str, size: int) -> int:
        """Batches of more than the histogram's last bucket below `size`."""
        return int(self.metric("BatchSize_count", model) - self.metric("BatchSize_bucket", model, le="7.5"))


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    quiet()
    for name, overrides in OVERRIDES.items():
        train(name, overrides, folder / "artifacts", folder / "runs")
    return folder / "artifacts"


@pytest.fixture(scope="session")
def store(artifacts, tmp_path_factory) -> Path:
    """Archives of the three models with the bundle's own recipes, but for the delay and the size of batches."""
    folder = tmp_path_factory.mktemp("archived")
    for name in OVERRIDES:
        recipe = yaml.safe_load(Path(f"archive/recipes/{name}.yaml").read_text())
        changed = folder / f"{name}.yaml"
        changed.write_text(yaml.safe_dump(recipe | {"batchSize": 8, "maxBatchDelay": DELAY}))
        build(artifacts / name, changed, folder / "store")
    return folder / "store"


@pytest.fixture(scope="session")
def bundle(artifacts, store, tmp_path_factory):
    home = Home(tmp_path_factory.mktemp("home") / ".torchserve")
    server.start(home, overrides=[*free_ports(), f"model_store={store}"])
    try:
        client = Client.of(home)
        for name in OVERRIDES:
            client.register(name, "1.0", home.workers_log)
        yield Bundle(home, artifacts, store)
    finally:
        server.stop(home)
