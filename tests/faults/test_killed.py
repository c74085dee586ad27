"""Parts of a running server are killed, stopped, or lose their files: what callers see, and how long the recovery takes."""

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

from serving import fork_client, server
from serving.client import Client
from serving.registry import Registry
from serving.state import ServerError, StateDir
from tests.bundle import serving, settings_for, wait_for
from tests.faults.steady_load import CALLERS, RIGHT, SteadyLoad

pytestmark = [pytest.mark.server, pytest.mark.slow]
MODEL = "digits"
RECOVERY = 60  # seconds, at most


@pytest.fixture(scope="module")
def doomed(artifacts, tmp_path_factory):
    """A server for this file alone, as `make serve` starts it."""
    with serving(artifacts, tmp_path_factory.mktemp("doomed"), {}) as served:
        yield served
        served.client.look_again()


def recovered(bundle, since: float) -> float:
    """Seconds from `since` until every worker of the model is ready and answers its samples as in training."""
    while time.monotonic() - since < RECOVERY:
        with contextlib.suppress(ServerError):
            if Registry(bundle.home, patience=5, retrying=0).fault(MODEL, "1.0") is None:
                return time.monotonic() - since
        time.sleep(0.05)
    pytest.fail(f"no full service {RECOVERY} s after the fault")


def make_serve(bundle) -> None:
    """Start the server again, as an operator or a supervisor does after a crash."""
    command = [sys.executable, "-m", "serving", "start", "--home", bundle.home.folder]
    command += ["--config", bundle.home.folder / "config.properties"]  # the settings that it was started with
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "not hosted again" not in done.stderr
    bundle.client.look_again()


def workers(bundle) -> list[psutil.Process]:
    return [psutil.Process(worker["pid"]) for worker in bundle.client.describe(MODEL)[0]["workers"]]


def fork_servers(bundle) -> list[psutil.Process]:
    """The fork server of this bundle, without the workers that it forked: they have its command line."""
    wanted = ["-I", fork_client.SERVER, f"{bundle.home.require().temporary}/{fork_client.SOCKET}"]
    found = [each for each in psutil.process_iter() if command_of(each)[1:4] == wanted]
    return [each for each in found if each.name() != "worker"]


def command_of(process: psutil.Process) -> list[str]:
    with contextlib.suppress(psutil.Error):
        return process.cmdline()
    return []


def under_load(bundle, trials: int, fault) -> tuple[SteadyLoad, list[float]]:
    """Do the fault `trials` times under load. Returns the load, and the seconds of each recovery."""
    seconds = []
    with SteadyLoad(bundle, MODEL) as load:
        for _ in range(trials):
            started = time.monotonic()
            fault()
            seconds.append(recovered(bundle, started))
            load.wait_for_answers()
    assert not any(result.startswith("wrong") for result in load.lost_bare() | load.lost_through_client())
    return load, seconds


def test_a_killed_worker_costs_its_batch_and_the_client_nothing(doomed, trials, report):
    def kill():
        (worker,) = workers(doomed)
        worker.kill()
        worker.wait(10)

    load, seconds = under_load(doomed, trials, kill)
    report.add("kill -9 of a worker", trials, load, seconds)
    assert load.lost_through_client() == Counter()
    assert sum(load.lost_bare().values()) <= CALLERS * trials  # at most the batch that it held
    assert set(load.lost_bare()) <= {"500 InternalServerException", "507 InternalServerException"}


def test_a_killed_fork_server_costs_nothing_and_is_back_for_the_next_worker(doomed, trials, report):
    """The worker lives on. When it is killed, too, another one starts alone, and the one after that is forked."""

    def kill():
        (server,) = fork_servers(doomed)
        server.kill()
        wait_for(lambda: not fork_servers(doomed))
        time.sleep(1)
        for _ in range(2):
            (worker,) = workers(doomed)
            worker.kill()
            worker.wait(10)
            recovered(doomed, time.monotonic())

    load, seconds = under_load(doomed, max(1, trials // 5), kill)
    report.add("kill -9 of the fork server, then of two workers", max(1, trials // 5), load, seconds)
    assert load.lost_through_client() == Counter()
    assert len(fork_servers(doomed)) == 1
    assert "this worker imports torch itself" in doomed.home.workers_log.read_text()


def test_after_a_killed_frontend_no_worker_is_left_and_all_models_come_back(doomed, trials, report):
    def kill():
        running = doomed.home.require()
        orphans = psutil.Process(running.pid).children(recursive=True)
        os.kill(running.pid, signal.SIGKILL)
        _, alive = psutil.wait_procs(orphans, timeout=10)
        assert not alive, "workers outlive their frontend"
        make_serve(doomed)

    load, seconds = under_load(doomed, max(1, trials // 5), kill)
    report.add("kill -9 of the frontend, then make serve", max(1, trials // 5), load, seconds)
    assert load.lost_through_client() == Counter()
    assert {model["modelName"] for model in doomed.client.models()} == {"digits", "intents", "sounds"}


def test_a_sigterm_loses_nothing_through_the_client(doomed, trials, report):
    def end():
        running = doomed.home.require()
        process = psutil.Process(running.pid)
        process.terminate()
        process.wait(60)
        make_serve(doomed)

    load, seconds = under_load(doomed, max(1, trials // 5), end)
    report.add("SIGTERM to the frontend, then make serve", max(1, trials // 5), load, seconds)
    assert load.lost_through_client() == Counter()


def test_a_stop_loses_no_request_that_the_server_had_accepted(doomed, trials, report):
    """The server refuses later requests at once: with 400, since the token is no longer valid, or by its closed port. Then the
    new server refuses them, until it hosts the model (404) and has a worker (503)."""

    def stop():
        assert server.stop(doomed.home)
        make_serve(doomed)

    load, seconds = under_load(doomed, max(1, trials // 5), stop)
    report.add("make stop, then make serve", max(1, trials // 5), load, seconds)
    assert load.lost_through_client() == Counter()
    refused = [outcome.sent for outcome in load.bare if outcome.result.startswith("400")]
    shut = min(outcome.sent for outcome in load.bare if outcome.result == "connection refused")
    for outcome in load.bare:
        if outcome.result == "no answer":  # cut, but sent when others were already refused: the server had not accepted it
            assert any(0 <= outcome.sent - sent < RECOVERY for sent in refused)
        elif outcome.result in ("404 ModelNotFoundException", "503 ServiceUnavailableException"):  # the new server, not yet ready
            assert outcome.sent > shut
        else:
            assert outcome.result in (RIGHT, "400 InvalidKeyException", "connection refused")


def test_without_its_model_store_a_server_goes_on_and_workers_come_back(doomed, report):
    away = doomed.store.with_name("away")

    def kill():
        (worker,) = workers(doomed)
        worker.kill()
        worker.wait(10)
        wait_for(lambda: has_another_worker(worker.pid), RECOVERY)

    def has_another_worker(pid: int) -> bool:
        return doomed.client.describe(MODEL)[0]["workers"][0]["pid"] != pid and doomed.client.is_ready(MODEL, "1.0")

    doomed.store.rename(away)
    try:
        with SteadyLoad(doomed, MODEL) as load:
            started = time.monotonic()
            kill()
            seconds = [time.monotonic() - started]
            with pytest.raises(ServerError, match="no such archive; make archive makes it"):
                Registry(doomed.home).host(MODEL, "2.0")
            assert "No such file" in Registry(doomed.home).fault(MODEL, "1.0")
    finally:
        away.rename(doomed.store)
    report.add("the model store gone, and a worker killed", 1, load, seconds)
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


def test_a_full_disk_costs_the_logs_and_no_answer(doomed, artifacts, tmp_path, report, monkeypatch):
    with small_disk(tmp_path / "small") as disk:
        monkeypatch.setattr(server, "FREE", 0)
        home = StateDir(disk / ".torchserve")
        server.start(home, overrides=settings_for(doomed.store))
        try:
            Registry(home).host(MODEL, "1.0")
            other = type(doomed)(home, artifacts, doomed.store)
            with SteadyLoad(other, MODEL) as load:
                with contextlib.suppress(OSError), open(disk / "filler", "wb") as filler:
                    while True:
                        filler.write(bytes(1 << 16))
                assert shutil.disk_usage(disk).free < 1 << 16
                load.wait_for_answers(50)
            assert load.lost_bare() == load.lost_through_client() == Counter()
            (disk / "filler").unlink()
            assert Client.of(home).predict(MODEL, other.samples(MODEL)[0][1]).status_code == 200
        finally:
            server.stop(home)
    report.add("the disk full", 1, load)
