"""Parts of a server that serves are killed, stopped, or lose the ground below them: what callers see, and how long it takes."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from serving import server
from serving.client import Client
from serving.config import free_ports
from serving.registry import Registry
from serving.state import ServerError, StateDir
from tests.bundle import serving
from tests.faults.steady import RIGHT, Steady

pytestmark = [pytest.mark.server, pytest.mark.alone]
MODEL = "digits"
RECOVERY = 60  # seconds


@pytest.fixture(scope="module")
def doomed(artifacts, tmp_path_factory):
    """A server of this file's own, as `make serve` starts it."""
    with serving(artifacts, tmp_path_factory.mktemp("doomed"), {}) as served:
        yield served
        served.client.look_again()


def recovered(bundle, since: float) -> float:
    """Seconds until every worker of the model is ready again and answers its samples as in training."""
    while time.monotonic() - since < RECOVERY:
        with contextlib.suppress(ServerError):
            if Registry(bundle.home, patience=5, retrying=0).fault(MODEL, "1.0") is None:
                return time.monotonic() - since
        time.sleep(0.05)
    pytest.fail(f"no full service {RECOVERY} s after the fault")


def make_serve(bundle) -> None:
    """What an operator, or a supervisor, does after a crash."""
    command = [sys.executable, "-m", "serving", "start", "--home", bundle.home.folder]
    command += ["--config", bundle.home.folder / "config.properties"]  # the settings that it was started with
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "not hosted again" not in done.stderr
    bundle.client.look_again()


def workers(bundle) -> list[psutil.Process]:
    return [psutil.Process(worker["pid"]) for worker in bundle.client.describe(MODEL)[0]["workers"]]


def under_load(bundle, trials: int, fault) -> tuple[Steady, list[float]]:
    """Do the fault so many times while callers go on; the load, and the seconds of each recovery."""
    seconds = []
    with Steady(bundle, MODEL) as load:
        for _ in range(trials):
            started = time.monotonic()
            fault()
            seconds.append(recovered(bundle, started))
            time.sleep(0.5)
    assert not any(result.startswith("wrong") for result in load.lost_bare() | load.lost_through_client())
    return load, seconds


def test_a_killed_worker_costs_its_batch_and_nothing_through_the_client(doomed, trials, tell):
    def kill():
        (worker,) = workers(doomed)
        worker.kill()
        worker.wait(10)

    load, seconds = under_load(doomed, trials, kill)
    tell("kill -9 of a worker", trials, load, seconds)
    assert load.lost_through_client() == Counter()
    assert sum(load.lost_bare().values()) <= 4 * trials  # at most the batch that it held: four bare callers
    assert set(load.lost_bare()) <= {"500 InternalServerException", "507 InternalServerException"}


def test_a_killed_frontend_leaves_no_worker_and_what_it_hosted_is_back(doomed, trials, tell):
    def kill():
        running = doomed.home.require()
        orphans = psutil.Process(running.pid).children(recursive=True)
        os.kill(running.pid, signal.SIGKILL)
        _, alive = psutil.wait_procs(orphans, timeout=10)
        assert not alive, "workers outlive their frontend"
        make_serve(doomed)

    load, seconds = under_load(doomed, max(1, trials // 5), kill)
    tell("kill -9 of the frontend, then make serve", max(1, trials // 5), load, seconds)
    assert load.lost_through_client() == Counter()
    assert {model["modelName"] for model in doomed.client.models()} == {"digits", "intents", "sounds"}


def test_what_a_bare_sigterm_loses(doomed, trials, tell):
    def end():
        running = doomed.home.require()
        process = psutil.Process(running.pid)
        process.terminate()
        process.wait(60)
        make_serve(doomed)

    load, seconds = under_load(doomed, max(1, trials // 5), end)
    tell("SIGTERM to the frontend, then make serve", max(1, trials // 5), load, seconds)
    assert load.lost_through_client() == Counter()


def test_a_stop_loses_nothing_that_it_had_taken_in(doomed, trials, tell):
    """Whoever comes after that is refused at once: with 400, since the token is no longer good, or by the closed port; then by
    the new server, until it hosts the model (404) with a worker (503)."""

    def stop():
        assert server.stop(doomed.home)
        make_serve(doomed)

    load, seconds = under_load(doomed, max(1, trials // 5), stop)
    tell("make stop, then make serve", max(1, trials // 5), load, seconds)
    assert load.lost_through_client() == Counter()
    refused = [outcome.sent for outcome in load.bare if outcome.result.startswith("400")]
    shut = min(outcome.sent for outcome in load.bare if outcome.result == "nobody there")
    for outcome in load.bare:
        if outcome.result == "no answer":  # it was cut, but came when others were refused already: it had not been taken in
            assert any(0 <= outcome.sent - sent < RECOVERY for sent in refused)
        elif outcome.result in ("404 ModelNotFoundException", "503 ServiceUnavailableException"):  # the new server, not yet ready
            assert outcome.sent > shut
        else:
            assert outcome.result in (RIGHT, "400 InvalidKeyException", "nobody there")


def test_without_its_model_store_the_server_goes_on_and_its_workers_come_back(doomed, tell):
    away = doomed.store.with_name("away")

    def kill():
        (worker,) = workers(doomed)
        worker.kill()
        worker.wait(10)
        while doomed.client.describe(MODEL)[0]["workers"][0]["pid"] == worker.pid or not doomed.client.is_ready(MODEL, "1.0"):
            time.sleep(0.05)

    doomed.store.rename(away)
    try:
        with Steady(doomed, MODEL) as load:
            started = time.monotonic()
            kill()
            seconds = [time.monotonic() - started]
            with pytest.raises(ServerError, match="no such archive; make archive makes it"):
                Registry(doomed.home).host(MODEL, "2.0")
            assert "No such file" in Registry(doomed.home).fault(MODEL, "1.0")
    finally:
        away.rename(doomed.store)
    tell("the model store gone, and a worker killed", 1, load, seconds)
    assert load.lost_through_client() == Counter()


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of 24 MB."""
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_costs_the_logs_and_no_answer(doomed, artifacts, tmp_path, tell, monkeypatch):
    with small_disk(tmp_path / "small") as disk:
        monkeypatch.setattr(server, "FREE", 0)
        home = StateDir(disk / ".torchserve")
        server.start(home, overrides=[*free_ports(), f"model_store={doomed.store}"])
        try:
            Registry(home).host(MODEL, "1.0")
            other = type(doomed)(home, artifacts, doomed.store)
            with Steady(other, MODEL) as load:
                with contextlib.suppress(OSError), open(disk / "filler", "wb") as filler:
                    while True:
                        filler.write(bytes(1 << 16))
                assert shutil.disk_usage(disk).free < 1 << 16
                time.sleep(3)
                seconds = [0.0]
            assert load.lost_bare() == load.lost_through_client() == Counter()
            (disk / "filler").unlink()
            assert Client.of(home).predict(MODEL, other.samples(MODEL)[0][1]).status_code == 200
        finally:
            server.stop(home)
    tell("the disk full", 1, load, seconds)
