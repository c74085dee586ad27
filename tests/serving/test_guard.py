"""serving/guard.py in front of real workers: only code from the archives of the model store runs.

Each registration here goes to TorchServe's own management API with a valid token, past all checks of `Registry`.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import threading
import time
import zipfile
from pathlib import Path

import psutil
import pytest

from serving import server
from serving.client import Client
from serving.errors import ServerError
from serving.state import StateDir
from serving.verify import SUMS
from tests.bundle import settings_for, wait_for
from tests.serving.conftest import SAMPLES, archive

pytestmark = pytest.mark.server
HERE = '(lambda file: open(file, "w").close())({marker!r})\n'  # what an intruder's code does
HANDLER = "def handle(data, context):\n    return [b'evil'] * len(data or [])\n"
MANIFEST = {"runtime": "python", "model": {"modelName": "evil", "modelVersion": "1.0", "handler": "evil.py"}}


@pytest.fixture
def evil(tmp_path):
    """Write a folder that looks like an unpacked archive. `evil.ran()` is true once its code has run."""
    marker = tmp_path / "ran"

    def make(where: Path = tmp_path / "evil", manifest: dict | None = None, config: str = "") -> Path:
        (where / "MAR-INF").mkdir(parents=True)
        told = {**MANIFEST, **(manifest or {}), "archiverVersion": "0.12.0", "createdOn": "x"}
        told["model"] = {**told["model"], **({"configFile": "config.yaml"} if config else {})}
        (where / "MAR-INF" / "MANIFEST.json").write_text(json.dumps(told))
        (where / "config.yaml").write_text(config)
        (where / "sitecustomize.py").write_text(HERE.format(marker=str(marker)))
        (where / "evil.py").write_text(HERE.format(marker=str(marker)) + HANDLER)
        return where

    make.ran = marker.exists
    return make


@pytest.fixture
def refused(home, client):
    """Register past `Registry`, and check that the model is not hosted; what the server says, and what the guard wrote."""

    def ask(path: str = "/models", **parameters: str) -> tuple[str, str]:
        read_from = home.workers_log.stat().st_size
        before = set(client.names())
        with pytest.raises(ServerError) as error:
            client.manage("POST", path, initial_workers=1, synchronous="true", **parameters)
        assert set(client.names()) == before

        def log() -> str:
            return home.workers_log.read_bytes()[read_from:].decode()

        wait_for(lambda: "this worker cannot start" in log())  # a thread of the server writes the workers' lines, a little later
        return str(error.value), log()

    return ask


def test_a_local_folder_is_not_run(evil, refused):
    said, log = refused(url=str(evil()))
    assert "Failed to start workers" in said and "a folder is not served, only what make archive made" in log
    assert not evil.ran()


@pytest.mark.parametrize(
    ("manifest", "config"),
    [
        ({"runtime": "python3"}, ""),
        ({}, "minWorkers: 1\nmaxWorkers: 1\nparallelType: pp\nparallelLevel: 1\ntorchrun:\n  nproc-per-node: 1\n"),
        ({}, "minWorkers: 1\nmaxWorkers: 1\nuseVenv: true\n"),
        ({"runtime": "LSP"}, ""),
    ],
    ids=["another Python of the PATH", "torchrun", "a virtual environment of its own", "no Python at all"],
)
def test_a_local_folder_is_not_run_under_another_name_of_python_either(evil, client, home, manifest, config):
    """TorchServe looks these up in PATH, or makes them, and does not use the Python that it was given."""
    folder = evil(manifest=manifest, config=config)
    with pytest.raises(ServerError, match=r"refused POST /models with (500: Failed to start workers|400: Virtual environment)"):
        client.manage("POST", "/models", initial_workers=1, synchronous="true", url=str(folder))
    with contextlib.suppress(ServerError):
        client.manage("PUT", "/models/evil", min_worker=1, synchronous="true")
    with contextlib.suppress(ServerError):
        client.unregister("evil", "1.0")
    assert not evil.ran() and "evil" not in client.names()


def test_a_folder_in_the_store_is_not_run(evil, refused, lent_store):
    evil(lent_store / "evil")
    assert "a folder is not served" in refused(url="evil")[1]
    assert not evil.ran()


def test_an_unsigned_archive_is_not_run_and_the_client_says_why(lent_store, refused, client, home, tmp_path):
    made = archive(tmp_path, tmp_path / "elsewhere", "unsigned")
    shutil.copy(made, lent_store)
    assert "'unsigned-1.0.mar' is not in " in refused(url=made.name)[1]
    with pytest.raises(ServerError, match=r"unsigned 1\.0 cannot start: 'unsigned-1\.0\.mar' is not in .*make archive"):
        client.register("unsigned", "1.0", home.workers_log)


def test_an_archive_changed_after_it_was_signed_is_not_run(lent_store, refused, tmp_path):
    there = archive(tmp_path, lent_store, "changed")
    with zipfile.ZipFile(there, "a") as file:
        file.writestr("more.py", "")
    assert "'changed-1.0.mar' is not the one that was built" in refused(url=there.name)[1]


def test_another_archive_is_not_run_in_the_name_of_a_signed_one(lent_store, refused, evil):
    """The manifest of this one says that it is the echo."""
    folder = evil(manifest={"model": MANIFEST["model"] | {"modelName": "echo", "modelVersion": "1.10"}})
    there = lent_store / "other.mar"
    with zipfile.ZipFile(there, "w") as file:
        for path in folder.rglob("*.*"):
            file.write(path, path.relative_to(folder))
    said = refused(url=there.name, model_name="other")[1]
    assert "in 'echo-1.10.mar'; such a model is not served" in said and not evil.ran()


@pytest.mark.parametrize("line", ["", "no digest", "é\udcff"], ids=["empty", "without a digest", "not UTF-8"])
def test_a_malformed_line_of_the_sums_keeps_no_archive_from_running(client, lent_store, line):
    with (lent_store / SUMS).open("a", encoding="utf-8", errors="surrogateescape") as sums:
        sums.write(f"\n{line}\n")
    client.manage("POST", "/models", url="second-1.0.mar", initial_workers=1, synchronous="true")
    assert client.predict("second", b"hello").status_code == 200
    client.unregister("second", "1.0")


@pytest.mark.parametrize("named", ["{folder}/evil.py:handle", "{folder}/:handle"])
def test_a_signed_archive_does_not_run_a_handler_from_elsewhere(evil, refused, named):
    folder = evil()
    said = refused(url="echo-1.10.mar", handler=named.format(folder=folder))[1]
    assert "is not of the model store" in said and not evil.ran()


def test_a_signed_archive_runs_under_the_other_name_of_python(client):
    client.manage(
        "POST", "/models", url="echo-1.10.mar", model_name="other", runtime="python3", initial_workers=1, synchronous="true"
    )
    assert client.predict("other", b"hello").status_code == 200
    client.unregister("other", "1.10")


# --- what a registration may name


@pytest.fixture
def listening():
    """A loopback socket's port, and what has connected to it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)
        connected, stop = [], threading.Event()

        def accept() -> None:
            while not stop.is_set():
                with contextlib.suppress(TimeoutError):
                    connected.append(listener.accept())

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield listener.getsockname()[1], connected
        finally:
            stop.set()
            thread.join()


@pytest.mark.parametrize(("api", "suffix"), [("/models", "mar"), ("/workflows", "war")])
def test_no_url_is_fetched(client, listening, api, suffix):
    port, connected = listening
    for scheme in ("http", "https", "HTTP", "ftp", "jar:http"):
        with pytest.raises(ServerError, match=rf"refused POST {api} with 40[04]"):
            client.manage("POST", api, url=f"{scheme}://127.0.0.1:{port}/x.{suffix}")
    time.sleep(0.3)
    assert connected == []


@pytest.mark.parametrize(("api", "suffix"), [("/models", "mar"), ("/workflows", "war")])
def test_no_file_outside_the_store_is_loaded(client, echo_store, tmp_path, api, suffix):
    outside = Path(shutil.copy(echo_store / "echo-1.10.mar", tmp_path / f"outside.{suffix}"))
    parent = Path(shutil.copy(outside, echo_store.parent))
    for url in (f"file://{outside}", f"../{parent.name}", str(outside), f"file:{outside}"):
        with pytest.raises(ServerError, match=rf"refused POST {api} with 40[04]"):
            client.manage("POST", api, url=url)
    assert "outside" not in client.names() and client.manage("GET", "/workflows")["workflows"] == []


def test_a_workflow_of_the_store_does_not_run_its_functions(client, lent_store, evil, tmp_path):
    """TorchServe registers a workflow even if the model API is off, and runs its functions as models."""
    there = lent_store / "flow.war"
    manifest = {
        "workflow": {"workflowName": "flow", "specFile": "spec.yaml", "handler": "evil.py"},
        "archiverVersion": "x", "createdOn": "x", "runtime": "python",
    }  # fmt: skip
    with zipfile.ZipFile(there, "w") as file:
        file.writestr("WAR-INF/MANIFEST.json", json.dumps(manifest))
        file.writestr("spec.yaml", "models:\n  m:\n    url: echo-1.10.mar\ndag:\n  first: [m]\n  m: [last]\n")
        file.write(evil() / "evil.py", "evil.py")
    before = set(client.names())
    with pytest.raises(ServerError, match="refused POST /workflows"):
        client.manage("POST", "/workflows", url=there.name)
    assert not evil.ran() and set(client.names()) == before


# --- the workers that run


@pytest.fixture
def own(tmp_path):
    """A server with a store of the test's own; it hosts an echo."""
    home, store = StateDir(tmp_path / "a home" / ".torchserve"), tmp_path / "a store"
    archive(tmp_path, store, "echo", extra=SAMPLES)
    server.start(home, overrides=settings_for(store))
    try:
        client = Client.of(home)
        client.register("echo", "1.0", home.workers_log)
        yield home, store, client
    finally:
        server.stop(home, draining=0)


def worker_of(client: Client) -> psutil.Process:
    return psutil.Process(client.describe("echo")[0]["workers"][0]["pid"])


def kill(client: Client) -> psutil.Process:
    worker = worker_of(client)
    worker.kill()
    worker.wait(5)
    return worker


def test_a_worker_comes_back_though_its_archive_or_the_store_has_gone(own, tmp_path):
    _, store, client = own
    (store / "echo-1.0.mar").write_bytes(b"another")
    kill(client)
    wait_for(lambda: client.predict("echo", b"x").status_code == 200)
    store.rename(tmp_path / "gone")
    before = kill(client)
    wait_for(lambda: client.predict("echo", b"x").status_code == 200)
    assert worker_of(client).pid != before.pid


def test_a_worker_does_not_come_back_to_code_that_was_changed(own):
    home, _, client = own
    entry = Path(worker_of(client).cwd()) / "echo.py"
    times = entry.stat().st_atime_ns, entry.stat().st_mtime_ns
    entry.write_text(entry.read_text().replace("0.5", "0.6"))
    os.utime(entry, ns=times)
    kill(client)
    wait_for(lambda: "'echo.py' was changed since the archive was unpacked" in home.workers_log.read_text())


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="Linux ends them")
@pytest.mark.parametrize("state", ["stopped", "back from a restart and stopped"])
def test_a_hung_worker_ends_with_its_frontend(own, state):
    home, _, client = own
    if state != "stopped":
        kill(client)
        wait_for(lambda: client.predict("echo", b"x").status_code == 200)
    worker = worker_of(client)
    worker.suspend()
    os.kill(home.require().pid, signal.SIGKILL)
    assert worker.wait(3) is None or not worker.is_running()


def test_a_worker_sees_no_token_and_not_the_guards_path(home, client):
    worker = worker_of(client)
    environment, command = "\n".join(f"{name}={value}" for name, value in worker.environ().items()), " ".join(worker.cmdline())
    assert len(client.keys) == 3
    for token in client.keys.values():
        assert token not in environment and token not in command
    assert f"{home.require().temporary}/bin" not in environment
