"""serving/registry.py: versions change while callers notice nothing, commands at once lose nothing, all is back after a crash."""

import os
import signal
import subprocess
import sys
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
import requests

from archive import bom
from serving import server
from serving.client import Client
from serving.errors import ServerError
from serving.registry import Registry
from serving.state import StateDir
from tests.bundle import settings_for, wait_for
from tests.serving.conftest import sign

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def started(echo_store, tmp_path_factory):
    """A state directory of these tests' own, and the settings of its server."""
    home = StateDir(tmp_path_factory.mktemp("registry") / ".torchserve")
    yield home, settings_for(echo_store)
    server.stop(home, draining=0)


@pytest.fixture
def own(started):
    """The same. Its server runs and hosts echo 1.0, nothing else."""
    home, settings = started
    server.start(home, overrides=settings)
    registry = Registry(home)
    for model in list(registry.client.names()):
        default = registry.default_version(model)
        # The default version is the last: TorchServe refuses to end it while there are others.
        for version in sorted(registry.hosted_versions(model), key=lambda version: version == default):
            registry.drop(model, version)
    home.registered_file.unlink(missing_ok=True)
    registry.host("echo", "1.0")
    return home, settings


def remembered(home: StateDir) -> dict[str, set[str]]:
    return {model: set(known.versions) for model, known in home.registered().items()}


def hosted(home: StateDir) -> dict[str, set[str]]:
    registry = Registry(home)
    return {model: registry.hosted_versions(model) for model in registry.client.names()}


def kill_frontend(home: StateDir) -> None:
    pid = home.require().pid
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)


@pytest.mark.slow
def test_swaps_under_load_lose_no_request_and_rollback_returns(own):
    home, _ = own
    registry, url = Registry(home), Client.of(home).url("echo")
    headers = Client.of(home).token("inference") | {"Content-Type": "application/octet-stream"}
    stop, wrong, sent = threading.Event(), [], [0] * 4

    def load(caller: int) -> None:
        """A caller without retries."""
        with requests.Session() as session:
            while not stop.is_set():
                answer = session.post(url, data=f"{caller} {sent[caller]}", headers=headers, timeout=20)
                if answer.status_code != 200 or answer.json()[0]["label"] != f"{caller} {sent[caller]}":
                    wrong.append(answer.text)
                sent[caller] += 1

    with ThreadPoolExecutor(len(sent)) as callers:
        running = [callers.submit(load, caller) for caller in range(len(sent))]
        try:
            assert registry.promote("echo", "1.9") == "1.0"
            assert registry.promote("echo", "1.10") == "1.9"
            assert registry.rollback("echo") == ("1.9", "1.10")
            assert registry.default_version("echo") == "1.9" and registry.hosted_versions("echo") == {"1.9"}
        finally:
            stop.set()
        for one in running:
            one.result()
    assert wrong == [] and min(sent) > 3


def test_a_version_that_answers_wrongly_is_not_promoted(own):
    registry = Registry(own[0])
    with pytest.raises(
        ServerError, match=r"echo 3\.0 answers 0\.txt otherwise than in training: .*label is 'another'; training says 'hello'"
    ):
        registry.promote("echo", "3.0")
    assert registry.default_version("echo") == "1.0" and registry.hosted_versions("echo") == {"1.0"}
    assert registry.client.predict("echo", b"x").status_code == 200


def test_a_first_version_that_answers_wrongly_is_not_promoted_either(own):
    registry = Registry(own[0])
    registry.drop("echo", "1.0")
    with pytest.raises(ServerError, match=r"echo 3\.0 answers 0\.txt otherwise than in training"):
        registry.promote("echo", "3.0")
    assert registry.hosted_versions("echo") == set() and remembered(own[0]) == {}


def test_an_archive_that_fails_its_checks_never_reaches_the_server(own, lent_store):
    home, _ = own
    registry = Registry(home)
    odd = lent_store / "echo-7.0.mar"
    with zipfile.ZipFile(lent_store / "echo-1.9.mar") as old, zipfile.ZipFile(odd, "w") as new:
        for name in old.namelist():
            if name != bom.FILE:
                content = old.read(name).replace(b"1.9", b"7.0")
                new.writestr(name, content.replace(b"minWorkers", b"minworkers") if name == "recipe.yaml" else content)
    bom.add(odd, "echo", "7.0")
    sign(odd)
    for attempt in (registry.host, registry.promote):
        with pytest.raises(ServerError, match=r"echo-7\.0\.mar: recipe\.yaml: 'minWorkers' is a required property"):
            attempt("echo", "7.0")
    assert registry.hosted_versions("echo") == {"1.0"} and registry.default_version("echo") == "1.0"
    assert remembered(home) == {"echo": {"1.0"}}


def test_only_the_model_store_can_be_named(own):
    for model, version in [("../store/echo", "1.0"), ("/tmp/echo", "1.0"), ("echo", "1.0/../x"), ("", "")]:
        for attempt in (Registry(own[0]).host, Registry(own[0]).drop, Registry(own[0]).promote):
            with pytest.raises(ServerError, match="only archives of"):
                attempt(model, version)


def test_without_a_promotion_there_is_nothing_to_roll_back(own):
    with pytest.raises(ServerError, match="make promote"):
        Registry(own[0]).rollback("echo")


# --- several commands at once


def test_two_registries_at_once_keep_what_both_register(own):
    home, _ = own
    first, second = Registry(home), Registry(home)
    first.host("echo", "1.9")
    second.host("second", "1.0")
    first.host("echo", "1.10")
    second.drop("echo", "1.9")
    assert remembered(home) == hosted(home) == {"echo": {"1.0", "1.10"}, "second": {"1.0"}}


def test_a_version_registered_while_another_is_unregistered_is_kept(own):
    home, _ = own
    Registry(home).host("echo", "1.9")
    with ThreadPoolExecutor(2) as commands:
        changes = commands.submit(Registry(home).drop, "echo", "1.9"), commands.submit(Registry(home).host, "echo", "1.10")
    for change in changes:
        change.result()
    assert remembered(home) == hosted(home) == {"echo": {"1.0", "1.10"}}


def test_two_promotions_at_once_leave_one_version_that_answers(own):
    home, _ = own
    with ThreadPoolExecutor(2) as commands:
        changes = [commands.submit(Registry(home).promote, "echo", version) for version in ("1.9", "1.10")]
    assert sorted(change.result() for change in changes) in (["1.0", "1.10"], ["1.0", "1.9"])
    default, known = Registry(home).default_version("echo"), home.registered()["echo"]
    assert {default, known.previous} == {"1.9", "1.10"} and known.default == default
    assert remembered(home) == hosted(home) == {"echo": {default}}
    assert Client.of(home).predict("echo", b"x").status_code == 200


def test_a_promotion_and_a_rollback_at_once_leave_one_version_that_answers(own):
    home, _ = own
    Registry(home).promote("echo", "1.9")
    with ThreadPoolExecutor(2) as commands:
        changes = commands.submit(Registry(home).promote, "echo", "1.10"), commands.submit(Registry(home).rollback, "echo")
    for change in changes:
        change.result()
    # 1.9, 1.10, back to 1.9; or 1.9, back to 1.0, 1.10.
    default, known = Registry(home).default_version("echo"), home.registered()["echo"]
    assert (known.default, known.previous) in {("1.9", "1.10"), ("1.10", "1.0")} and known.default == default
    assert remembered(home) == hosted(home) == {"echo": {default}}


# --- after a crash


@pytest.mark.slow
def test_after_a_crash_the_promoted_version_is_back(own):
    home, settings = own
    Registry(home).promote("echo", "1.9")
    kill_frontend(home)
    server.start(home, overrides=settings)
    assert Registry(home).restore() == []
    assert Registry(home).default_version("echo") == "1.9" and Registry(home).hosted_versions("echo") == {"1.9"}
    assert home.registered()["echo"].previous == "1.0"


@pytest.mark.slow
def test_models_that_two_processes_registered_at_once_are_back_after_a_crash(own):
    home, settings = own
    command = [sys.executable, "-m", "serving"]
    models = {"echo": "1.9", "second": "1.0"}
    both = [
        subprocess.Popen([*command, "register", model, "--version", version, "--home", home.folder])
        for model, version in models.items()
    ]
    assert [one.wait(120) for one in both] == [0, 0]
    kill_frontend(home)
    changes = [part for setting in settings for part in ("--set", setting)]
    done = subprocess.run([*command, "start", "--home", home.folder, *changes], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stderr == ""
    assert hosted(home) == {"echo": {"1.0", "1.9"}, "second": {"1.0"}}
    assert Registry(home).default_version("echo") == "1.0"
    assert all(Client.of(home).predict(model, b"x", version=version).ok for model, version in models.items())


@pytest.mark.slow
def test_what_cannot_be_hosted_again_is_named_and_the_rest_is_hosted(own):
    home, settings = own
    Registry(home).host("echo", "1.9")
    known = home.registered()["echo"]
    known.versions["8.8"] = "0" * 64
    home.remember("echo", known)
    kill_frontend(home)
    server.start(home, overrides=settings)
    (failed,) = Registry(home).restore()
    assert failed.startswith("echo 8.8: ") and "no such archive" in failed
    assert Registry(home).hosted_versions("echo") == {"1.0", "1.9"} and Registry(home).default_version("echo") == "1.0"


@pytest.mark.slow
def test_the_workers_of_make_scale_are_back_after_a_restart(own):
    home, settings = own
    command = [sys.executable, "-m", "serving", "scale", "--home", home.folder, "echo", "--workers"]
    subprocess.run([*command, "2"], check=True, capture_output=True)
    Registry(home).host("echo", "1.9")
    server.stop(home, draining=0)
    server.start(home, overrides=settings)
    assert Registry(home).restore() == []
    registry = Registry(home)
    assert {version: len(registry.client.describe("echo", version)[0]["workers"]) for version in ("1.0", "1.9")} == {
        "1.0": 2,
        "1.9": 1,
    }
    subprocess.run([*command, "0", "--version", "1.9"], check=True, capture_output=True)
    server.stop(home, draining=0)
    server.start(home, overrides=settings)
    assert Registry(home).restore() == []
    assert Registry(home).client.describe("echo", "1.9")[0]["minWorkers"] == 0


@pytest.mark.slow
def test_a_start_that_lost_a_model_fails_and_so_does_the_probe(own):
    home, settings = own
    known = home.registered()["echo"]
    known.versions["8.8"] = "0" * 64
    home.remember("echo", known)
    server.stop(home, draining=0)
    changes = [part for setting in settings for part in ("--set", setting)]
    command = [sys.executable, "-m", "serving"]
    done = subprocess.run([*command, "start", "--home", home.folder, *changes], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and "not hosted again: echo 8.8: " in done.stderr
    done = subprocess.run([*command, "status", "--home", home.folder], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and "not ready: echo 8.8 should be hosted and is not" in done.stderr


def test_a_server_without_models_is_not_ready(own):
    home, _ = own
    Registry(home).drop("echo", "1.0")
    command = [sys.executable, "-m", "serving", "status", "--home", home.folder]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and "not ready: no model is hosted; " in done.stderr
