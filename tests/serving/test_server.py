"""serving/server.py: started once, found again, stopped without a trace; whatever became of it in between."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from serving import server
from serving.client import Client
from serving.home import Home, ServerError
from tests.servers import free_ports

pytestmark = pytest.mark.server


@pytest.fixture
def own(echo_store, tmp_path):
    """A home of the test's own, and the settings to start it with; stopped afterwards."""
    home = Home(tmp_path / ".torchserve")
    yield home, [*free_ports(), f"model_store={echo_store}"]
    server.stop(home)


def processes_of(temporary: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if any(temporary in argument for argument in process.info["cmdline"] or []):
            found.append(process)
    return found


def test_stopping_leaves_no_process_and_no_file_that_blocks_the_next_start(own):
    home, settings = own
    running = server.start(home, overrides=settings)
    Client.of(home).register("echo", "1.0")
    assert len(processes_of(running.temporary)) == 2  # Java and one worker
    assert server.stop(home) is True
    assert processes_of(running.temporary) == [] and not Path(running.temporary).exists()
    assert home.running() is None and not home.keys_file.exists()
    assert server.stop(home) is False
    assert server.start(home, overrides=settings).pid != running.pid


def test_after_kill_9_of_the_frontend_the_next_start_ends_its_orphans(own):
    home, settings = own
    killed = server.start(home, overrides=settings)
    Client.of(home).register("echo", "1.0")
    os.kill(killed.pid, signal.SIGKILL)
    psutil.Process(killed.pid).wait(10) if psutil.pid_exists(killed.pid) else None
    assert home.running() is None
    running = server.start(home, overrides=settings)
    assert processes_of(killed.temporary) == [] and not Path(killed.temporary).exists()
    assert Client.of(home).is_up() and home.running() == running


def test_another_process_with_the_old_number_is_not_taken_for_the_server(own):
    """As after a reboot: the file is there, and the number belongs to somebody else."""
    home, settings = own
    home.make()
    me = psutil.Process()
    home.state.write_text(json.dumps({
        "pid": me.pid, "created": me.create_time() - 86_400, "temporary": "/tmp/ts-not-there", "inference": "", "management": "",
        "metrics": "", "model_store": "",
    }))  # fmt: skip
    assert home.running() is None
    server.start(home, overrides=settings)
    assert me.is_running()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": "x"}'])
def test_a_half_written_file_does_not_block_a_start(tmp_path, content):
    home = Home(tmp_path / ".torchserve")
    home.make()
    home.state.write_text(content)
    assert home.running() is None and server.stop(home) is False


def test_starting_twice_gives_the_same_server(home):
    assert server.start(home) == home.running()


def test_a_port_in_use_is_one_line_that_names_it_and_what_to_do(own):
    home, settings = own
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = rf"port {port} of metrics_address .*held by .*pid {os.getpid()}.*--set metrics_address="
        with pytest.raises(ServerError, match=said):
            server.start(home, overrides=[*settings, f"metrics_address=http://127.0.0.1:{port}"])
    assert home.last() is None


def test_a_configuration_that_torchserve_refuses_ends_the_start_with_its_words(own):
    home, settings = own
    with pytest.raises(ServerError, match="ended as it started"):
        server.start(home, overrides=[*settings, "max_request_size=many"])
    assert home.last() is None


def test_a_setting_without_a_value_is_refused(own):
    with pytest.raises(ServerError, match="'job_queue_size' is no setting"):
        server.start(own[0], overrides=["job_queue_size"])


def test_tokens_are_for_the_owners_eyes_only(home):
    for file in (home.keys_file, home.header("inference"), home.header("management"), home.state):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    assert stat.S_IMODE(home.folder.stat().st_mode) == 0o700


def test_the_shells_python_path_and_secrets_do_not_reach_a_worker(own, monkeypatch):
    home, settings = own
    monkeypatch.setenv("PYTHONPATH", "/somewhere/else")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("MY_TOKEN", "secret")
    server.start(home, overrides=settings)
    Client.of(home).register("echo", "1.0")
    seen = Client.of(home).predict("echo", b"environment").json()
    assert "/somewhere/else" not in seen["path"]
    assert not {"AWS_SECRET_ACCESS_KEY", "MY_TOKEN"} & set(seen["environment"])


def test_an_interrupted_start_leaves_nothing(own, tmp_path):
    home, settings = own
    changes = [part for setting in settings for part in ("--set", setting)]
    command = [sys.executable, "-m", "serving", "start", "--home", home.folder, *changes]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while not home.state.exists():
        assert process.poll() is None
    temporary = home.last().temporary
    process.send_signal(signal.SIGINT)
    assert process.wait(60) != 0
    assert processes_of(temporary) == [] and not Path(temporary).exists() and home.last() is None
