"""serving/server.py: started once, found again, stopped without a trace, whatever happened in between."""

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import msgspec
import psutil
import pytest

from serving import config, processes, server
from serving.client import Client
from serving.errors import ServerError
from serving.state import Running, StateDir
from tests.bundle import settings_for

pytestmark = pytest.mark.server


@pytest.fixture
def own(echo_store, tmp_path):
    """A state directory of the test's own, and settings for its server, which is stopped afterwards."""
    home = StateDir(tmp_path / ".torchserve")
    yield home, settings_for(echo_store)
    server.stop(home, draining=0)


def processes_of(temporary: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if any(temporary in argument for argument in process.info["cmdline"] or []):
            found.append(process)
    return found


@pytest.mark.slow
def test_stopping_leaves_no_process_and_no_file_that_blocks_the_next_start(own):
    home, settings = own
    running = server.start(home, overrides=settings)
    Client.of(home).register("echo", "1.0")
    assert len(processes_of(running.temporary)) == 5  # Java, the fork server, its client, the worker, the monitor
    assert server.stop(home) is True
    assert processes_of(running.temporary) == [] and not Path(running.temporary).exists()
    assert home.running() is None and not home.keys_file.exists()
    assert server.stop(home) is False
    assert server.start(home, overrides=settings).pid != running.pid


@pytest.mark.slow
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


def test_another_process_with_the_old_pid_is_not_taken_for_the_server(tmp_path):
    """This happens after a reboot: the file is there, and the pid belongs to another process."""
    home = StateDir(tmp_path / ".torchserve")
    home.make()
    me = psutil.Process()
    home.server_file.write_text(json.dumps({
        "pid": me.pid, "created": me.create_time() - 86_400, "temporary": "/tmp/ts-not-there", "inference": "", "management": "",
        "metrics": "", "model_store": "",
    }))  # fmt: skip
    assert home.running() is None and server.stop(home) is False
    assert me.is_running() and not home.server_file.exists()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": "x"}'])
def test_a_half_written_file_does_not_block_a_start(tmp_path, content):
    home = StateDir(tmp_path / ".torchserve")
    home.make()
    home.server_file.write_text(content)
    assert home.running() is None and server.stop(home) is False


def test_a_clock_that_was_set_does_not_hide_the_server(home):
    """Setting it changes the start time that every process reports."""
    running = home.require()
    home.write(msgspec.structs.replace(running, created=running.created - 3_600))
    try:
        assert home.running() is not None
    finally:
        home.write(running)


def test_a_process_that_reads_in_a_lost_servers_folder_is_not_ended(tmp_path):
    """The server's file may be gone, or so damaged that it names no folder."""
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


@pytest.mark.slow
def test_a_start_that_was_killed_is_taken_up_by_the_next(own):
    home, settings = own
    changes = [part for setting in settings for part in ("--set", setting)]
    process = subprocess.Popen([sys.executable, "-m", "serving", "start", "--home", home.folder, *changes])
    while not home.server_file.exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert server.start(home, overrides=settings) == home.running()
    assert Client.of(home).is_up() and home.header("inference").exists()


@pytest.mark.slow
def test_a_server_that_does_not_answer_any_more_is_stopped(own, monkeypatch):
    home, settings = own
    running = server.start(home, overrides=settings)
    Client.of(home).register("echo", "1.0")
    os.kill(running.pid, signal.SIGSTOP)
    monkeypatch.setattr(processes, "STOPPING", 1)
    assert server.stop(home, draining=1) is True
    assert processes_of(running.temporary) == [] and not Path(running.temporary).exists()


@pytest.fixture(scope="module")
def odd(echo_store, tmp_path_factory):
    """A server that was started from an odd folder, in a shell with odd variables; it hosts the echo."""
    folder = tmp_path_factory.mktemp("odd") / "été ☀"
    (folder / "serving").mkdir(parents=True)
    shutil.copy("serving/metrics.yaml", folder / "serving")
    shutil.copy(config.FILE, folder)
    home = StateDir(folder / ".torchserve")
    variables = {
        "http_proxy": "http://127.0.0.1:1", "HTTP_PROXY": "http://127.0.0.1:1", "LC_ALL": "C", "PYTHONPATH": "/somewhere/else",
        "AWS_SECRET_ACCESS_KEY": "secret", "MY_TOKEN": "secret",
    }  # fmt: skip
    with pytest.MonkeyPatch.context() as shell:
        for name, value in variables.items():
            shell.setenv(name, value)
        server.start(home, folder / config.FILE.name, settings_for(echo_store))
    try:
        Client.of(home).register("echo", "1.0", home.workers_log)
        yield home
    finally:
        server.stop(home, draining=0)


def test_neither_a_proxy_nor_a_plain_locale_nor_an_accent_hinders_a_start(odd, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert Client.of(odd).predict("echo", b"hello").status_code == 200
    assert "ts_inference_requests_total" in Client.of(odd).metrics()


def test_the_shells_python_path_and_secrets_do_not_reach_a_worker(odd):
    seen = Client.of(odd).predict("echo", b"environment").json()
    assert "/somewhere/else" not in seen["path"]
    assert not {"AWS_SECRET_ACCESS_KEY", "MY_TOKEN"} & set(seen["environment"])


def test_the_telemetry_of_onnxruntime_is_off_in_a_worker(odd, monkeypatch):
    assert "ORT_DISABLE_TELEMETRY" in Client.of(odd).predict("echo", b"environment").json()["environment"]
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "0")
    assert server.environment(Path("guards"), {})["ORT_DISABLE_TELEMETRY"] == "1"


def test_importing_onnxruntime_as_a_worker_does_writes_nothing(tmp_path):
    pytest.importorskip("onnxruntime", reason="make setup EXTRAS=onnxruntime")
    environment = server.environment(Path("guards"), {}) | {"HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", "import onnxruntime"], env=environment, cwd=tmp_path, check=True)
    assert list(tmp_path.rglob("*")) == []


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
        server.start(home, overrides=[*settings, "vmargs=-XX:+NoSuchOption"])
    assert home.last() is None


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("job_queue_sze=7", "job_queue_sze is no setting of the server; did you mean job_queue_size?"),
        ("plugins_path=/opt", "plugins_path is no setting of the server"),
        ("max_request_size=many", "max_request_size=many is no whole number from 1 to"),
        ("token_expiration_min=-1", "token_expiration_min=-1 is no number above 0"),
        ("job_queue_size=0", "job_queue_size=0 is no whole number from 1 to"),
        ("disable_token_authorization=on", "disable_token_authorization=on is neither true nor false"),
        ("metrics_mode=promethus", "metrics_mode=promethus is not one of prometheus, log, legacy"),
        ("inference_address=http://[::1]:8080", r"\[::1\]:8080: TorchServe listens on IPv4 only"),
        ("grpc_inference_address=::1", "grpc_inference_address=::1: TorchServe listens on IPv4 only"),
    ],
)
def test_a_setting_that_names_nothing_is_refused_by_name(setting, said):
    with pytest.raises(ServerError, match=said):
        config.listeners(config.read(config.FILE, [setting]))


def test_a_setting_that_the_file_has_twice_is_refused(tmp_path):
    file = tmp_path / "config.properties"
    file.write_text(config.FILE.read_text() + "job_queue_size=7\n")
    with pytest.raises(ServerError, match="says job_queue_size=100 and job_queue_size=7; say it once"):
        config.read(file, [])


def test_an_address_of_another_machine_is_one_line_that_says_so(own):
    home, settings = own
    with pytest.raises(ServerError, match=r"inference_address: nothing can listen at 192\.0\.2\.1 .*such as 127\.0\.0\.1"):
        server.start(home, overrides=[*settings, "inference_address=http://192.0.2.1:8080"])


@pytest.fixture
def noexec():
    """A folder on a file system where no program may be started. Its path is short enough for a socket."""
    folder = Path(tempfile.mkdtemp(prefix="noexec-"))
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "noexec", "tmpfs", folder], capture_output=True)
    if done.returncode:
        pytest.skip("only root can mount a file system")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)
    folder.rmdir()


@pytest.mark.slow
def test_a_folder_where_no_program_may_be_started_gives_way_to_another(echo_store, noexec):
    home = StateDir(noexec / "home")
    home.make()
    try:
        running = server.start(home, overrides=settings_for(echo_store))
        assert Path(running.temporary).parent == Path("/tmp")
        Client.of(home).register("echo", "1.0")
        assert Client.of(home).predict("echo", b"hello").ok
    finally:
        server.stop(home, draining=0)


def test_if_no_program_may_be_started_anywhere_one_line_names_the_folders(noexec, monkeypatch):
    home = StateDir(noexec / "home")
    home.make()
    monkeypatch.setattr(server, "FOLDERS", (str(noexec),))
    with pytest.raises(ServerError, match=rf"in {home.folder}: .*noexec, in {noexec}: .*noexec; name another folder: --home"):
        server.make_temporary(home)
    assert not list(home.folder.glob("ts-*"))


def test_a_setting_without_a_value_is_refused(own):
    with pytest.raises(ServerError, match="'job_queue_size' is no setting"):
        server.start(own[0], overrides=["job_queue_size"])


def test_tokens_are_for_the_owners_eyes_only(home):
    for file in (home.keys_file, home.header("inference"), home.header("management"), home.server_file):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    assert stat.S_IMODE(home.folder.stat().st_mode) == 0o700


def test_an_interrupted_start_leaves_nothing(own, tmp_path):
    home, settings = own
    changes = [part for setting in settings for part in ("--set", setting)]
    command = [sys.executable, "-m", "serving", "start", "--home", home.folder, *changes]
    # A process that a shell starts in the background ignores Ctrl-C, and so do its children, unless they are told otherwise.
    heeding = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, preexec_fn=heeding)
    while not home.server_file.exists():
        assert process.poll() is None
    temporary = home.last().temporary
    process.send_signal(signal.SIGINT)
    assert process.wait(60) != 0
    assert processes_of(temporary) == [] and not Path(temporary).exists() and home.last() is None
