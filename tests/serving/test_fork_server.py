"""serving/fork_server.py and fork_client.py: a worker by fork is what a worker by exec is, and the two live and die together."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from serving import fork_client, fork_server

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forked workers need pidfds")

REPORTS = """
import json, os, random, sys, numpy, torch
facts = {
    "pid": os.getpid(), "argv": sys.argv, "folder": os.getcwd(), "environment": dict(os.environ), "path": sys.path,
    "stdin": sys.stdin.read(), "random": [random.random(), float(numpy.random.rand()), float(torch.rand(()))],
    "descriptors": [os.path.realpath(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd") if int(name) > 2],
    "main": __name__, "threads": torch.get_num_threads(),
}
print(json.dumps(facts))
"""
SLEEPS = """
import sys, time
print("asleep", flush=True)
time.sleep(60)
"""


class Frontend:
    """A process in TorchServe's place, and a fork server for it."""

    def __init__(self, folder: Path):
        self.socket = folder / "fork.sock"
        self.process = subprocess.Popen(["sleep", "600"])
        command = [sys.executable, "-I", fork_server.__file__, self.socket, str(self.process.pid)]
        self.server = subprocess.Popen(command)
        until(self.socket.exists)

    def worker(self, script: Path, *arguments: str, **options) -> subprocess.Popen:
        command = fork_client.command(str(self.socket.parent), sys.executable)
        streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen([*command, script, *arguments], **streams | options)

    def end(self) -> None:
        for process in (self.process, self.server):
            process.kill()
            process.wait()


def until(is_so, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def frontend(tmp_path_factory):
    made = Frontend(tmp_path_factory.mktemp("fork"))
    yield made
    made.end()


@pytest.fixture
def other_frontend(tmp_path):
    """One that a test may break."""
    made = Frontend(tmp_path)
    yield made
    made.end()


@pytest.fixture
def script(tmp_path):
    def write(text: str) -> Path:
        file = tmp_path / "worker.py"
        file.write_text(text)
        return file

    return write


def forked(worker: subprocess.Popen) -> psutil.Process:
    """The process that a client stands in for, once it sleeps."""
    assert worker.stdout.readline() == "asleep\n"
    (found,) = (each for each in psutil.process_iter() if each.ppid() != os.getpid() and holds(each, worker))
    return found


def holds(process: psutil.Process, worker: subprocess.Popen) -> bool:
    """Whether the process writes to the worker's stdout and is not the client itself."""
    try:
        pipe = os.readlink(f"/proc/self/fd/{worker.stdout.fileno()}")
        return process.pid not in (worker.pid, os.getpid()) and os.readlink(f"/proc/{process.pid}/fd/1") == pipe
    except OSError:
        return False


def test_a_worker_has_what_the_client_was_given(frontend, script, tmp_path):
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path), "MARK": "\udcff"}
    worker = frontend.worker(script(REPORTS), "--one", "2", env=environment, cwd=tmp_path)
    said, errors = worker.communicate("given", timeout=60)
    assert not errors
    facts = json.loads(said)
    assert worker.returncode == 0 and facts["pid"] != worker.pid
    assert facts["argv"] == [str(tmp_path / "worker.py"), "--one", "2"] and facts["main"] == "__main__"
    assert facts["folder"] == str(tmp_path) and facts["stdin"] == "given"
    assert facts["environment"].items() >= environment.items() and "HOME" not in facts["environment"]
    assert facts["path"][:2] == [str(tmp_path), str(tmp_path)]


def test_a_worker_holds_no_descriptor_but_its_own(frontend, script):
    said, _ = frontend.worker(script(REPORTS)).communicate("", timeout=60)
    opened = [name for name in json.loads(said)["descriptors"] if any(kind in name for kind in ("socket:", "anon_inode:"))]
    assert opened == []


def test_two_workers_draw_other_random_numbers(frontend, script):
    workers = [frontend.worker(script(REPORTS)) for _ in range(2)]
    first, second = (json.loads(worker.communicate("", timeout=60)[0])["random"] for worker in workers)
    assert not set(first) & set(second)


@pytest.mark.parametrize(("text", "status"), [("import sys; sys.exit(7)", 7), ("1 / 0", 1), ("", 0)])
def test_the_client_ends_with_the_workers_status(frontend, script, text, status):
    worker = frontend.worker(script(text))
    _, said = worker.communicate("", timeout=60)
    assert worker.returncode == status and ("ZeroDivisionError" in said) == (text == "1 / 0")


def test_the_client_ends_by_the_workers_signal(frontend, script):
    worker = frontend.worker(script(SLEEPS))
    forked(worker).kill()
    assert worker.wait(10) == -signal.SIGKILL


def test_a_signal_to_the_client_reaches_the_worker(frontend, script):
    worker = frontend.worker(script("import signal, sys\nsignal.signal(15, lambda *_: sys.exit(3))\n" + SLEEPS))
    process = forked(worker)
    worker.terminate()
    assert worker.wait(10) == 3
    until(lambda: not process.is_running(), 5)


def test_a_killed_client_takes_its_worker_along(frontend, script):
    worker = frontend.worker(script(SLEEPS))
    process = forked(worker)
    worker.kill()
    until(lambda: not process.is_running(), 3)


def test_what_is_no_request_does_not_end_the_server(frontend, script):
    for sent in (b"", b"x\n", b"{}\n", b'{"arguments": 1}\n'):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(frontend.socket))
            connection.sendall(sent)
    worker = frontend.worker(script("print('well')"))
    assert worker.communicate("", timeout=60)[0] == "well\n"


@pytest.mark.slow
def test_fifty_workers_that_start_at_once_all_start(frontend, script):
    file = script("import os; print(os.getpid())")
    workers = [frontend.worker(file) for _ in range(50)]
    said = [worker.communicate("", timeout=120) for worker in workers]
    assert len({pid for pid, _ in said}) == 50 and not any(errors for _, errors in said)
    assert {worker.returncode for worker in workers} == {0}


def test_descriptors_that_a_worker_leaks_stay_its_own(frontend, script, tmp_path):
    file = tmp_path / "leaks.py"
    file.write_text("leaked = [open('/dev/null') for _ in range(500)]\n" + SLEEPS)
    before = psutil.Process(frontend.server.pid).num_fds()
    leaking = frontend.worker(file)
    assert leaking.stdout.readline() == "asleep\n"
    said, _ = frontend.worker(script(REPORTS)).communicate("", timeout=60)
    assert "/dev/null" not in json.loads(said)["descriptors"]
    leaking.kill()
    leaking.wait(10)
    until(lambda: psutil.Process(frontend.server.pid).num_fds() == before, 5)


@pytest.mark.slow
def test_two_hundred_workers_leave_nothing_in_the_server(frontend, script):
    """Its private memory and its descriptors are the same after 200 more workers."""
    file, server = script("import torch; torch.ones(9).sum()"), psutil.Process(frontend.server.pid)

    def start(count: int) -> tuple[int, int]:
        for _ in range(count):
            assert frontend.worker(file).wait(60) == 0
        until(lambda: not server.children(), 5)
        return server.memory_full_info().uss, server.num_fds()

    memory, descriptors = start(5)
    after, _ = start(200)
    assert after < memory + (2 << 20)
    until(lambda: server.num_fds() <= descriptors, 5)  # it closes a connection after the worker has gone


def test_the_server_ends_with_the_frontend(other_frontend):
    other_frontend.process.kill()
    other_frontend.process.wait()
    assert other_frontend.server.wait(30) == 0


def test_without_a_server_the_worker_starts_alone_and_says_so(other_frontend, script):
    other_frontend.server.kill()
    other_frontend.server.wait()
    worker = other_frontend.worker(script("print('well')"))
    said = worker.communicate("", timeout=60)[0].splitlines()
    assert said[-1] == "well" and said[0].startswith("this worker imports torch itself: there is no fork server")


@pytest.mark.slow
def test_workers_outlive_a_server_that_dies(other_frontend, script):
    worker = other_frontend.worker(script(SLEEPS))
    process = forked(worker)
    other_frontend.server.kill()
    other_frontend.server.wait()
    assert process.is_running() and worker.poll() is None
    worker.kill()
    until(lambda: not process.is_running(), 3)
