"""serving/registry.py: versions change with no one noticing, and come back after a crash."""

import os
import signal
import threading
import time
import zipfile

import psutil
import pytest
import requests

from archive import bom
from serving import server
from serving.client import Client
from serving.config import free_ports
from serving.registry import Registry, in_order
from serving.state import ServerError, StateDir
from tests.serving.conftest import sign

pytestmark = pytest.mark.server


@pytest.fixture
def own(echo_store, tmp_path):
    """A server of the test's own that hosts echo 1.0; what it remembers is its own, too."""
    home, settings = StateDir(tmp_path / ".torchserve"), [*free_ports(), f"model_store={echo_store}"]
    server.start(home, overrides=settings)
    try:
        Registry(home).host("echo", "1.0")
        yield home, settings
    finally:
        server.stop(home)


def test_versions_are_numbers_not_words():
    assert sorted(["1.10", "1.9", "2.0", "1.0"], key=in_order) == ["1.0", "1.9", "1.10", "2.0"]


def test_swaps_under_load_lose_no_request_and_rollback_returns(own):
    home, _ = own
    hosting, url = Registry(home), Client.of(home).url("echo")
    headers = Client.of(home).token("inference") | {"Content-Type": "application/octet-stream"}
    stop, wrong, sent = threading.Event(), [], [0] * 4

    def load(number: int) -> None:
        """A client without retries."""
        with requests.Session() as session:
            while not stop.is_set():
                answer = session.post(url, data=f"{number} {sent[number]}", headers=headers, timeout=20)
                if answer.status_code != 200 or answer.json()[0]["label"] != f"{number} {sent[number]}":
                    wrong.append(answer.text)
                sent[number] += 1

    clients = [threading.Thread(target=load, args=(number,)) for number in range(len(sent))]
    for client in clients:
        client.start()
    try:
        assert hosting.promote("echo", "1.9") == "1.0"
        assert hosting.promote("echo", "1.10") == "1.9"
        assert hosting.rollback("echo") == ("1.9", "1.10")
        assert hosting.default_version("echo") == "1.9" and hosting.hosted_versions("echo") == {"1.9"}
    finally:
        stop.set()
        for client in clients:
            client.join()
    assert wrong == [] and min(sent) > 100


def test_a_version_that_answers_wrongly_is_not_promoted_and_the_old_one_serves_on(own):
    hosting = Registry(own[0])
    with pytest.raises(
        ServerError, match=r"echo 3\.0 answers 0\.bin otherwise than in training: .*label is 'another'; training says 'hello'"
    ):
        hosting.promote("echo", "3.0")
    assert hosting.default_version("echo") == "1.0" and hosting.hosted_versions("echo") == {"1.0"}
    assert hosting.client.predict("echo", b"x").status_code == 200


def test_an_archive_that_is_not_to_be_trusted_never_reaches_the_server(own, lent_store):
    home, _ = own
    hosting = Registry(home)
    odd = lent_store / "echo-7.0.mar"
    with zipfile.ZipFile(lent_store / "echo-1.9.mar") as old, zipfile.ZipFile(odd, "w") as new:
        for name in old.namelist():
            if name != bom.FILE:
                content = old.read(name).replace(b"1.9", b"7.0")
                new.writestr(name, content.replace(b"minWorkers", b"minworkers") if name == "recipe.yaml" else content)
    bom.add(odd, "echo", "7.0")
    sign(odd)
    for attempt in (hosting.host, hosting.promote):
        with pytest.raises(ServerError, match=r"echo-7\.0\.mar: recipe\.yaml: 'minWorkers' is a required property"):
            attempt("echo", "7.0")
    assert hosting.hosted_versions("echo") == {"1.0"} and hosting.default_version("echo") == "1.0"
    assert "7.0" not in home.registered.read_text()


def test_only_the_model_store_can_be_named(own):
    for model, version in [("../store/echo", "1.0"), ("/tmp/echo", "1.0"), ("echo", "1.0/../x"), ("", "")]:
        with pytest.raises(ServerError, match="only archives of"):
            Registry(own[0]).host(model, version)


def test_after_a_crash_the_promoted_version_is_back(own):
    home, settings = own
    Registry(home).promote("echo", "1.9")
    pid = home.require().pid
    os.kill(pid, signal.SIGKILL)
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.05)
    server.start(home, overrides=settings)
    assert Registry(home).restore() == []
    assert Registry(home).default_version("echo") == "1.9" and Registry(home).hosted_versions("echo") == {"1.9"}
    assert Registry(home).models["echo"].previous == "1.0"


def test_what_cannot_be_hosted_again_is_told_and_the_rest_is(own, echo_store):
    home, settings = own
    hosting = Registry(home)
    hosting.host("echo", "1.9")
    hosting.models["echo"].versions["8.8"] = "0" * 64
    hosting.remember("echo", hosting.models["echo"])
    server.stop(home)
    server.start(home, overrides=settings)
    (lost,) = Registry(home).restore()
    assert lost.startswith("echo 8.8: ") and "no such archive" in lost
    assert Registry(home).hosted_versions("echo") == {"1.0", "1.9"} and Registry(home).default_version("echo") == "1.0"


def test_without_a_promotion_there_is_nothing_to_roll_back(own):
    with pytest.raises(ServerError, match="make promote"):
        Registry(own[0]).rollback("echo")
