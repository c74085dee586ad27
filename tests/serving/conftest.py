"""A small real server for the tests of serving/. Its one model answers with the text that it was sent, without torch."""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from archive import bom
from serving import server
from serving.client import Client
from serving.state import StateDir
from serving.verify import SUMS, sums
from tests.bundle import settings_for

ECHO = """
import json, os, sys, time

class Echo:
    def initialize(self, context):
        if os.path.exists(os.path.join(context.system_properties["model_dir"], "broken.txt")):
            raise FileNotFoundError("no weights here")

    def handle(self, data, context):
        for index in range(len(data)):
            context.set_response_content_type(index, "application/json")
        return [json.dumps(self.answer(row, context.get_all_request_header(index))).encode() for index, row in enumerate(data)]

    def answer(self, row, headers):
        text = bytes(row["body"]).decode() if not isinstance(row["body"], str) else row["body"]
        if text == "environment":
            return {"path": sys.path, "environment": sorted(os.environ)}
        if text.startswith("busy"):
            end = time.time() + 3
            while time.time() < end:
                pass
        if text == "headers":
            return headers
        return [{"label": text.strip() if len(text) < 10_000 else f"{len(text)} characters", "score": 0.5}]
"""
SAMPLES = {
    "samples/expected.json": '[{"file": "0.txt", "truth": "hello", "answer": [{"label": "hello", "score": 0.5}]}]',
    "samples/0.txt": "hello",
}
RECIPE = "minWorkers: 1\nmaxWorkers: 1\nbatchSize: 1\nmaxBatchDelay: 1\nresponseTimeout: 20\nstartupTimeout: 60\n"
DESCRIPTION = {  # the files in which `archive/build.py` describes a model
    "model.json": json.dumps({"network": {"class_path": "echo.Echo"}, "data": {"sha256": "e" * 64}, "metrics": {}}),
    "model-config.schema.json": '{"required": ["minWorkers"]}',
}


def archive(folder: Path, store: Path, name: str, version: str = "1.0", extra: dict[str, str] | None = None) -> Path:
    """Make an archive of the echo with torch-model-archiver, and sign it. `extra` adds or replaces files."""
    staged = folder / f"{name}-{version}"
    (staged / "files").mkdir(parents=True)
    for file, content in (SAMPLES | DESCRIPTION | {"note.txt": version} | (extra or {})).items():
        (staged / "files" / file).parent.mkdir(exist_ok=True)
        (staged / "files" / file).write_text(content)
    (staged / "echo.py").write_text(ECHO)
    (staged / "recipe.yaml").write_text(RECIPE)
    command = [
        sys.executable, "-m", "model_archiver.model_packaging", "--model-name", name, "--version", version,
        "--handler", staged / "echo.py", "--config-file", staged / "recipe.yaml", "--extra-files", staged / "files",
        "--export-path", staged, "--archive-format", "zip-store",
    ]  # fmt: skip
    (staged / "tmp").mkdir()
    subprocess.run(command, check=True, capture_output=True, env={"TMPDIR": str(staged / "tmp"), "PATH": "/usr/bin:/bin"})
    store.mkdir(exist_ok=True)
    made = (staged / f"{name}.mar").rename(store / f"{name}-{version}.mar")
    bom.add(made, name, version)
    sign(made)
    return made


def sign(archive: Path) -> None:
    """Write the archive's digest into `SHA256SUMS`, as `make archive` does."""
    known = sums(archive.parent) | {archive.name: hashlib.sha256(archive.read_bytes()).hexdigest()}
    (archive.parent / SUMS).write_text("".join(f"{digest}  {name}\n" for name, digest in known.items()))


@pytest.fixture(scope="session")
def echo_store(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("echo")
    store = folder / "store"
    archive(folder, store, "echo")
    archive(folder, store, "echo", "1.10")
    archive(folder, store, "echo", "1.9")
    archive(folder, store, "echo", "3.0", extra={"samples/0.txt": "another"})  # its sample is answered otherwise than recorded
    archive(folder, store, "second")
    archive(folder, store, "broken", extra={"broken.txt": ""})
    return store


@pytest.fixture
def lent_store(echo_store):
    """`echo_store` for a test that adds files. Afterwards they are removed, and `SHA256SUMS` is as before."""
    before, signed = set(echo_store.iterdir()), (echo_store / SUMS).read_text()
    yield echo_store
    for added in set(echo_store.iterdir()) - before:
        shutil.rmtree(added) if added.is_dir() else added.unlink()
    (echo_store / SUMS).write_text(signed)


@pytest.fixture(scope="session")
def home(echo_store, tmp_path_factory):
    """The state directory of a server that runs and hosts the echo."""
    home = StateDir(tmp_path_factory.mktemp("echo-home") / ".torchserve")
    server.start(home, overrides=settings_for(echo_store))
    try:
        client = Client.of(home)
        client.register("echo", "1.0")
        yield home
    finally:
        server.stop(home)


@pytest.fixture
def client(home) -> Client:
    return Client.of(home)
