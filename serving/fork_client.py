"""Start a worker by the fork server, and stand in for it: TorchServe sees this process, which lives and ends with the worker.

A signal to this process reaches the worker. If this process ends, however it ends, the kernel kills the worker. Where the fork
server cannot help, this process becomes the worker itself, and says why.

    python -I -S serving/fork_client.py SOCKET PYTHON SCRIPT [ARGUMENT ...]

It runs under `python -I -S` and imports only Python's own library, which keeps it at a few megabytes.
"""

import json
import os
import select
import signal
import socket
import subprocess
import sys
from typing import NoReturn

FORWARDED = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
SOCKET = "fork.sock"  # in the server's temporary folder
SERVER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "fork_server.py")
IS_POSSIBLE = hasattr(os, "pidfd_open")  # on Linux
STARTING = 120  # seconds that the fork server may take for its imports
REPORTING = 10  # seconds between the end of a worker and the word on it of the fork server, which may be forking others
LINE = 1 << 16  # bytes of an answer at most


class NotForked(Exception):
    """The fork server does not start this worker; the message says why."""


def main() -> None:
    path, python, *arguments = sys.argv[1:]
    try:
        end_as(run(path, arguments))
    except (ConnectionRefusedError, FileNotFoundError) as error:
        start_server(path, python, os.getppid(), dict(os.environ))
        reason = f"there is no fork server ({error.strerror}); it is started again for the next worker"
    except (NotForked, OSError, ValueError, LookupError) as error:
        reason = str(error)
    print(f"this worker imports torch itself: {reason}", flush=True)
    os.execv(python, [python, *arguments])


def run(path: str, arguments: list[str]) -> int:
    """Start the worker and wait for its end.

    Returns:
        How it ended, as `os.waitpid` says it.

    Raises:
        NotForked: the fork server refuses, or ended before it answered.
        OSError: there is no fork server.
    """
    if arguments[0].startswith("-"):
        raise NotForked("torchrun starts its processes by itself")
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(STARTING)
        connection.connect(path)
        lifeline, _kept = os.pipe()  # the other end closes when this process ends
        asked = {"arguments": arguments, "environment": dict(os.environ), "folder": os.getcwd()}
        line = json.dumps(asked).encode() + b"\n"
        sent = socket.send_fds(connection, [line], [0, 1, 2, lifeline])
        connection.sendall(line[sent:])
        os.close(lifeline)
        answer, descriptors, _, _ = socket.recv_fds(connection, LINE, 1)
        if not answer:
            raise NotForked("the fork server ended")
        if not descriptors:
            raise NotForked(json.loads(answer)["refused"])
        (worker,) = descriptors
        for number in FORWARDED:
            signal.signal(number, lambda number, _: signal.pidfd_send_signal(worker, number))
        poll = select.poll()
        poll.register(worker, select.POLLIN)
        poll.poll()
        connection.settimeout(REPORTING)
        try:
            return json.loads(connection.recv(LINE))["status"]
        except (OSError, ValueError):  # the fork server ended before the worker did
            return 1 << 8  # exit code 1


def command(temporary: str, python: str) -> list[str]:
    """The command that starts a worker by the fork server; the worker's script and its arguments follow it."""
    return [python, "-I", "-S", os.path.abspath(__file__), os.path.join(temporary, SOCKET), python]


def start_server(path: str, python: str, frontend_pid: int, environment: dict[str, str]) -> None:
    """Start the fork server. What it prints goes to a file next to its socket."""
    with open(f"{path}.log", "ab") as log:
        subprocess.Popen(
            [python, "-I", SERVER, path, str(frontend_pid)],
            env=environment, cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip


def end_as(status: int) -> NoReturn:
    """End as the worker ended: with its exit code, or by its signal."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number != signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    sys.exit(os.waitstatus_to_exitcode(status) if not os.WIFSIGNALED(status) else 1)


if __name__ == "__main__":
    main()
