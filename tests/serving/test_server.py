"""serving/server.py: started once, found again, stopped without a trace; whatever became of it in between."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import msgspec
import psutil
import pytest

from serving import config, server
from serving.client import Client
from serving.config import free_ports
from serving.state import Running, ServerError, StateDir

pytestmark = pytest.mark.server


@pytest.fixture
def own(echo_store, tmp_path):
    """A home of the test's own, and the settings to start it with; stopped afterwards."""
    home = StateDir(tmp_path / ".torchserve")
    yield home, [*free_ports(), f"model_store={echo_store}"]
    server.stop(home, draining=0)


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
    home = StateDir(tmp_path / ".torchserve")
    home.make()
    home.state.write_text(content)
    assert home.running() is None and server.stop(home) is False


def test_a_clock_that_was_put_right_does_not_hide_the_server(home):
    """It moves the time at which every process seems to have begun."""
    running = home.require()
    home.write(msgspec.structs.replace(running, created=running.created - 3_600))
    try:
        assert home.running() is not None
    finally:
        home.write(running)


def test_who_reads_in_a_lost_servers_folder_is_not_ended_with_it(tmp_path):
    """Its file may be gone, or be damaged so far that it names no folder at all."""
    home = StateDir(tmp_path / ".torchserve")
    home.make()
    folder = home.folder / "ts-lost"
    folder.mkdir()
    home.write(Running(1, 0, "", "", "", "", ""))
    worker = subprocess.Popen([sys.executable, "-c", "input()", f"{folder}/.ts.sock.9000"], stdin=subprocess.PIPE)
    reader = subprocess.Popen([sys.executable, "-c", "input()", f"{folder}/models"], stdin=subprocess.PIPE)
    try:
        server.stop(home)
        worker.wait(10)
        assert not folder.exists()
        assert reader.poll() is None
    finally:
        reader.kill()
        reader.wait()


def test_a_start_that_was_killed_is_taken_up_by_the_next(own):
    home, settings = own
    changes = [part for setting in settings for part in ("--set", setting)]
    process = subprocess.Popen([sys.executable, "-m", "serving", "start", "--home", home.folder, *changes])
    while not home.state.exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert server.start(home, overrides=settings) == home.running()
    assert Client.of(home).is_up() and home.header("inference").exists()


def test_a_server_that_answers_no_more_is_stopped_all_the_same(own, monkeypatch):
    home, settings = own
    running = server.start(home, overrides=settings)
    Client.of(home).register("echo", "1.0")
    os.kill(running.pid, signal.SIGSTOP)
    monkeypatch.setattr(server, "STOPPING", 1)
    assert server.stop(home, draining=1) is True
    assert processes_of(running.temporary) == [] and not Path(running.temporary).exists()


def test_neither_a_proxy_nor_a_plain_locale_nor_an_accent_hinders_a_start(own, tmp_path, monkeypatch):
    for name, value in {"http_proxy": "http://127.0.0.1:1", "HTTP_PROXY": "http://127.0.0.1:1", "LC_ALL": "C"}.items():
        monkeypatch.setenv(name, value)
    home, folder = StateDir(tmp_path / "été ☀" / ".torchserve"), tmp_path / "été ☀"
    (folder / "serving").mkdir(parents=True)
    (folder / "serving" / "metrics.yaml").write_bytes(Path("serving/metrics.yaml").read_bytes())
    (folder / "config.properties").write_bytes(config.FILE.read_bytes())
    try:
        server.start(home, folder / "config.properties", own[1])
        Client.of(home).register("echo", "1.0", home.workers_log)
        assert Client.of(home).predict("echo", b"hello").status_code == 200
        assert "ts_inference_requests_total" in Client.of(home).metrics()
    finally:
        server.stop(home, draining=0)


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


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("inference_address=127.0.0.1:9090", "is no address; write it as http://127.0.0.1:8080"),
        ("inference_address=http://127.0.0.1", "is no address"),
        ("metrics_address=http://127.0.0.1:99999", "is no address"),
        ("grpc_inference_port=x", "is no port"),
        ("inference_address=", "does not say inference_address"),
        ("management_address=http://127.0.0.1:8080", "inference_address and management_address are both on port 8080"),
    ],
)
def test_an_address_that_cannot_be_is_one_line(setting, said):
    with pytest.raises(ServerError, match=said):
        config.listeners(config.read(config.FILE, [setting]))


def test_no_settings_and_no_folder_say_which_option_names_another(tmp_path):
    with pytest.raises(ServerError, match="--config"):
        server.start(StateDir(tmp_path), file=tmp_path / "nothing.properties")
    with pytest.raises(ServerError, match="--home"):
        server.start(StateDir("/dev/null/home"))


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
    # A shell lets what it starts in the background ignore Ctrl-C, and so does all that this starts in its turn.
    heeding = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, preexec_fn=heeding)
    while not home.state.exists():
        assert process.poll() is None
    temporary = home.last().temporary
    process.send_signal(signal.SIGINT)
    assert process.wait(60) != 0
    assert processes_of(temporary) == [] and not Path(temporary).exists() and home.last() is None
