"""The fork server: a process that has imported what every worker needs, and forks a worker whenever a guard asks for one.

A forked worker starts in a fraction of a second and shares the memory of the imports. The standard library's
`multiprocessing.forkserver` is the model. That one serves a single client and runs pickled functions, so this one has a protocol
of its own, lines of JSON over a Unix socket, with `serving/fork_client.py` at the other end:

    client -> server    {"arguments", "environment", "folder"}, and four descriptors: stdin, stdout, stderr, lifeline
    server -> client    {"pid"} and a pidfd of the worker, or {"refused": why}; when the worker has ended, {"status"}

The server imports third-party packages only, starts no thread and opens no network socket. `handlers` and `model_defs` come from
each archive, in the worker. It ends when TorchServe's Java process ends. Linux only: it needs pidfds.

    python -I serving/fork_server.py SOCKET FRONTEND_PID
"""

import contextlib
import fcntl
import gc
import importlib
import json
import os
import random
import runpy
import select
import selectors
import signal
import socket
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

STREAMS = 3  # stdin, stdout, stderr
PATIENCE = 10  # seconds that a client may take to send its request
BACKLOG = 128  # clients that may wait
F_SETSIG = 10  # asm-generic/fcntl.h; Python 3.11 has no name for it
PRELOADED = (  # a package that is not installed is skipped
    "torch",
    "torchvision.transforms.v2",
    "torchaudio",
    "captum.attr",
    "ts.model_service_worker",
    "PIL.Image",
    "msgspec",
    "numpy",
    "safetensors.torch",
    "soundfile",
    "soxr",
)
BLAS_THREADS = "OPENBLAS_NUM_THREADS"  # numpy's BLAS starts its threads when it is imported


class Request(NamedTuple):
    """A worker to start.

    Args:
        arguments: `sys.argv`; the first one is the script.
        environment: all of it.
        folder: the working folder, which is the unpacked archive.
        descriptors: stdin, stdout, stderr, and the lifeline: a pipe whose other end only the client holds.
    """

    arguments: list[str]
    environment: dict[str, str]
    folder: str
    descriptors: list[int]


def main() -> None:
    path, frontend_pid = sys.argv[1], int(sys.argv[2])
    with contextlib.suppress(BlockingIOError, ProcessLookupError):  # there is a fork server already, or no frontend any more
        server = ForkServer(path, frontend_pid)
        request = server.run()
        if request is not None:  # this process is the worker
            server.leave(request.descriptors)
            become_worker(request)
            runpy.run_path(request.arguments[0], run_name="__main__")


class ForkServer:
    """
    Args:
        path: of the socket.
        frontend_pid: TorchServe's Java process; the server ends with it.

    Raises:
        BlockingIOError: another server has this socket.
        ProcessLookupError: there is no frontend.
    """

    def __init__(self, path: str, frontend_pid: int):
        self.frontend = os.pidfd_open(frontend_pid)
        self.lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(BACKLOG)  # clients may ask from now on; the answers follow the imports
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.frontend, selectors.EVENT_READ)
        self.selector.register(self.listener, selectors.EVENT_READ)
        own = open_descriptors()
        preload()
        self.libraries = open_descriptors() - own | {0, 1, 2}  # what the imports have opened

    def run(self) -> Request | None:
        """Fork a worker for each client that asks. Returns the request in a worker, and None in the server at its end."""
        while True:
            for key, _ in self.selector.select():
                if key.fileobj == self.frontend:
                    return None
                if key.fileobj is not self.listener:
                    self.report(key.fd, *key.data)
                elif request := self.answer():
                    return request

    def answer(self) -> Request | None:
        """Fork a worker for the next client. Returns the request in the worker, and None in the server."""
        connection, _ = self.listener.accept()
        connection.settimeout(PATIENCE)
        request = None
        try:
            request = receive(connection)
            if reason := obstacle():
                send(connection, {"refused": reason})
            elif pid := os.fork():
                self.watch(pid, connection.dup())
            else:
                return request
        except (OSError, ValueError, LookupError) as error:  # the client has ended, or there is no memory for a process
            print(f"no worker was forked: {error}", file=sys.stderr, flush=True)
        for descriptor in request.descriptors if request else ():
            os.close(descriptor)
        connection.close()
        return None

    def watch(self, pid: int, connection: socket.socket) -> None:
        """Tell the client which process its worker is, and wait for its end."""
        pidfd = os.pidfd_open(pid)
        self.selector.register(pidfd, selectors.EVENT_READ, (pid, connection))
        with contextlib.suppress(OSError):  # a client that has ended takes its worker along
            send(connection, {"pid": pid}, [pidfd])

    def report(self, pidfd: int, pid: int, connection: socket.socket) -> None:
        """Tell the client how its worker has ended."""
        self.selector.unregister(pidfd)
        os.close(pidfd)
        _, status = os.waitpid(pid, 0)
        with connection, contextlib.suppress(OSError):
            send(connection, {"status": status})

    def leave(self, kept: list[int]) -> None:
        """In a worker: close what belongs to the server and to other workers."""
        for descriptor in open_descriptors() - self.libraries - {*kept}:
            with contextlib.suppress(OSError):
                os.close(descriptor)


def preload() -> None:
    """Import `PRELOADED` and freeze it: a garbage collection would write to every object, and so copy its page."""
    own = os.environ.get(BLAS_THREADS)
    os.environ[BLAS_THREADS] = "1"
    for name in PRELOADED:
        with contextlib.suppress(ModuleNotFoundError):
            importlib.import_module(name)
    del os.environ[BLAS_THREADS]
    if own is not None:
        os.environ[BLAS_THREADS] = own
    gc.collect()
    gc.freeze()


def obstacle() -> str | None:
    """Why this process must not fork now: a thread, an OpenMP pool or a CUDA context does not survive in the child."""
    threads = len(os.listdir("/proc/self/task"))
    if threads > 1:
        return f"the fork server has {threads} threads"
    if sys.modules["torch"].cuda.is_initialized():
        return "the fork server has a CUDA context"
    return None


def open_descriptors() -> set[int]:
    return {int(name) for name in os.listdir("/proc/self/fd")}


def receive(connection: socket.socket) -> Request:
    """
    Raises:
        OSError, ValueError, LookupError: the client has ended, or sends something else.
    """
    first, descriptors, _, _ = socket.recv_fds(connection, 1, STREAMS + 1)
    try:
        with connection.makefile("rb") as stream:
            asked = json.loads(first + stream.readline())
        if len(descriptors) != STREAMS + 1:
            raise ValueError(f"{len(descriptors)} descriptors instead of {STREAMS + 1}")
        return Request(asked["arguments"], asked["environment"], asked["folder"], list(descriptors))
    except BaseException:
        for descriptor in descriptors:
            os.close(descriptor)
        raise


def send(connection: socket.socket, said: dict[str, Any], descriptors: Sequence[int] = ()) -> None:
    socket.send_fds(connection, [json.dumps(said).encode() + b"\n"], descriptors)


def become_worker(request: Request) -> None:
    """Give this process what TorchServe gave to the client: streams, environment, working folder, arguments, signals."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # as Python starts
    with open("/proc/self/comm", "w") as name:  # the command line stays the fork server's
        name.write("worker")
    *streams, lifeline = request.descriptors
    for target, descriptor in enumerate(streams):
        os.dup2(descriptor, target)
        os.close(descriptor)
    sys.stdin, sys.stdout, sys.stderr = map(partial(os.fdopen, closefd=False), range(STREAMS), "rww")
    die_with(lifeline)
    os.chdir(request.folder)
    os.environ.clear()
    os.environ.update(request.environment)
    sys.argv = request.arguments
    paths = filter(None, request.environment.get("PYTHONPATH", "").split(os.pathsep))
    sys.path[:0] = [os.path.dirname(request.arguments[0]), *paths]
    reseed()


def die_with(lifeline: int) -> None:
    """Be killed when the client ends, however it ends: then its end of the pipe closes, and the kernel sends SIGKILL."""
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    poll = select.poll()
    poll.register(lifeline, select.POLLHUP)
    if poll.poll(0):  # it ended before
        os.kill(os.getpid(), signal.SIGKILL)


def reseed() -> None:
    """Random numbers of its own: Python seeds its generator again after a fork; numpy and torch do not."""
    sys.modules["torch"].seed()
    sys.modules["numpy"].random.seed()
    random.seed()


if __name__ == "__main__":
    main()
