"""End processes, and find out what holds a port."""

import contextlib
import shutil
import socket
import time

import psutil

from serving.fork_client import SERVER, SOCKET
from serving.state import Running, belongs

STOPPING = 30  # seconds that processes have to end


def end(server: Running) -> None:
    """Send SIGTERM to the frontend; after it, or after `STOPPING` seconds, SIGKILL to what is left of it and its workers."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(server.pid)
        members = [process, *process.children(recursive=True)]
        process.terminate()
        wait_for_end([process])
        kill(members)


def family(temporary: str) -> set[psutil.Process]:
    """All processes of the server with this temporary folder: the frontend, the fork server, and their descendants."""
    firsts = [each for each in psutil.process_iter(["cmdline"]) if belongs(temporary, each.info["cmdline"] or [])]
    found = set(firsts)
    for first in firsts:
        with contextlib.suppress(psutil.Error):
            found.update(first.children(recursive=True))
    return found


def kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.kill()
    wait_for_end(processes)


def wait_for_end(processes: list[psutil.Process]) -> None:
    """Return when all have ended, or after `STOPPING` seconds.

    psutil's own wait also waits until the parent of an ended process has collected its status.
    """
    deadline = time.monotonic() + STOPPING
    while time.monotonic() < deadline and not all(map(has_ended, processes)):
        time.sleep(0.05)


def has_ended(process: psutil.Process) -> bool:
    """Whether no thread of it is left. Java's first thread may have ended while the others still write."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE and process.num_threads() <= 1
    except psutil.Error:
        return True


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def sweep(temporary: str) -> None:
    """Remove a server's temporary folder, and end all processes whose command line names it, with their children."""
    kill([*family(temporary)])
    shutil.rmtree(temporary, ignore_errors=True)


def private_memory(pid: int) -> str:
    """What a process holds alone, for example `23 MB`: what it shares with the fork server is not counted. `-` if unknown."""
    try:
        return f"{psutil.Process(pid).memory_full_info().uss / 1e6:.0f} MB"
    except psutil.Error:
        return "-"


def shared_memory(pid: int) -> int | None:
    """A process's memory in bytes, where what n processes share counts as a n-th part (PSS). None if unknown.

    macOS does not know it: there it is what the process holds alone.
    """
    try:
        info = psutil.Process(pid).memory_full_info()
    except psutil.Error:
        return None
    return getattr(info, "pss", info.uss)


def fork_server(temporary: str) -> int | None:
    """The pid of the fork server of the server with this temporary folder; None if there is none."""
    for each in psutil.process_iter(["cmdline", "name"]):
        command = each.info["cmdline"] or []  # of a worker too, which has another name
        if SERVER in command and f"{temporary}/{SOCKET}" in command and each.info["name"] != "worker":
            return each.pid
    return None


def free_ports(count: int) -> list[int]:
    """So many ports of the loopback address at which nothing listens."""
    with contextlib.ExitStack() as held:
        return [held.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1] for _ in range(count)]


def port_error(host: str, port: int) -> OSError | None:
    """Why nothing can listen at this port; None if it is free."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error
    return None


def holder_of(port: int) -> str:
    """`", held by java (pid 17)"`, or "" if the system does not tell."""
    with contextlib.suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
                return f", held by {psutil.Process(connection.pid).name()} (pid {connection.pid})"
    return ""
