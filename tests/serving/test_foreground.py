"""`make serve ARGS=--foreground`: as a supervisor and a container use it, in front until a signal, then drained."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from serving import server
from serving.client import Client
from serving.state import StateDir
from tests.bundle import settings_for, wait_for

pytestmark = [pytest.mark.server, pytest.mark.slow]
STARTING = 150  # seconds


@pytest.fixture
def front(echo_store, tmp_path):
    """A function that starts the server in front: its process, its state directory, and its output's file."""
    home, begun = StateDir(tmp_path / ".torchserve"), []

    def start(*models: str, before: tuple[str, ...] = ()) -> subprocess.Popen:
        changes = [part for setting in settings_for(echo_store) for part in ("--set", setting)]
        command = [*before, sys.executable, "-m", "serving", "start", *models, "--foreground", "--home", home.folder, *changes]
        heeding = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731
        begun.append(subprocess.Popen(command, stdout=(tmp_path / "out").open("w"), stderr=subprocess.STDOUT, preexec_fn=heeding))
        return begun[-1]

    start.home, start.output = home, tmp_path / "out"
    yield start
    for process in begun:
        process.kill()
        process.wait()
    server.stop(home, draining=0)


@pytest.fixture
def artifacts_of_echo(tmp_path) -> tuple[str, str]:
    """The option that names an artifact of the echo, whose sample a start sends."""
    samples = tmp_path / "artifacts" / "echo" / "samples"
    samples.mkdir(parents=True)
    (samples / "0.bin").write_text("hello")
    (samples / "expected.json").write_text('[{"file": "0.bin"}]')
    return "--artifacts", str(tmp_path / "artifacts")


def is_serving(front, process: subprocess.Popen) -> bool:
    assert process.poll() is None, front.output.read_text()
    return "is ready" in front.output.read_text()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_drains_and_stops_the_server(front, artifacts_of_echo, number, status):
    process = front("echo", *artifacts_of_echo)
    wait_for(lambda: is_serving(front, process) and "$ curl" in front.output.read_text(), STARTING)
    time.sleep(1)
    client, answers = Client.of(front.home), []
    asked = threading.Thread(target=lambda: answers.append(client.predict("echo", b"busy for 3 seconds")))
    asked.start()
    time.sleep(0.5)
    process.send_signal(number)
    assert process.wait(60) == status, front.output.read_text()
    asked.join(30)
    assert answers[0].status_code == 200
    assert front.home.last() is None and "the server has stopped" in front.output.read_text()
    assert "Traceback" not in front.output.read_text()


def test_a_signal_while_the_server_starts_leaves_nothing(front):
    process = front("echo")
    wait_for(lambda: front.home.last() is not None, STARTING)
    temporary = front.home.last().temporary
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0, front.output.read_text()
    assert front.home.last() is None and not Path(temporary).exists()


def test_a_server_that_is_killed_gives_its_status_and_leaves_nothing(front, artifacts_of_echo):
    process = front("echo", *artifacts_of_echo)
    wait_for(lambda: is_serving(front, process) and "$ curl" in front.output.read_text(), STARTING)
    time.sleep(1)
    running = front.home.require()
    os.kill(running.pid, signal.SIGKILL)
    assert process.wait(60) == 137, front.output.read_text()
    assert "error: the server ended with status 137; see " in front.output.read_text()
    assert not Path(running.temporary).exists() and front.home.last() is None


def test_make_stop_ends_it_with_0(front, artifacts_of_echo):
    process = front("echo", *artifacts_of_echo)
    wait_for(lambda: is_serving(front, process) and "$ curl" in front.output.read_text(), STARTING)
    time.sleep(1)
    assert server.stop(front.home) is True
    assert process.wait(30) == 0, front.output.read_text()


def test_a_model_that_cannot_start_ends_it_with_1(front):
    process = front("broken")
    assert process.wait(STARTING) == 1
    assert "a worker of broken 1.0 cannot start" in front.output.read_text() and front.home.last() is None


@pytest.mark.skipif(shutil.which("unshare") is None or os.getuid() != 0, reason="only root can make a PID namespace")
def test_as_the_first_process_of_a_container_it_drains_on_sigterm(front):
    process = front(before=("unshare", "-pf", "--mount-proc"))
    wait_for(lambda: "the server is up" in front.output.read_text() or process.poll() is not None, STARTING)
    time.sleep(3)
    assert process.poll() is None, front.output.read_text()  # it stays
    (first,) = psutil.Process(process.pid).children()
    first.send_signal(signal.SIGTERM)
    process.wait(60)
    assert "the server has stopped" in front.output.read_text() and front.home.last() is None
