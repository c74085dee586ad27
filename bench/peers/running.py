"""A peer's process: started in the peer's own environment, asked until it answers, and ended with everything that it started.

    with started("litserve", archive, "eager", body) as peer:
        peer.ask()

Knows HTTP and processes; what a peer does is in its own file, what it says in `wire.py`.
"""

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import msgspec
import psutil
import requests

from bench.peers.options import OPTIONS, Options
from bench.peers.wire import Wire, wire
from model_defs.errors import BundleError

ROOT = Path(__file__).parents[2]
ENVIRONMENTS = ROOT / ".venv-bench"  # see bench/requirements/install.sh
PATIENCE = 30  # seconds for one answer, the first one's warming up included
STOPPING = 20  # seconds to end by itself
# What would let a peer import our code or packages from elsewhere, or take it for the child of another.
UNWANTED = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", OPTIONS)


class PeerError(BundleError):
    """A peer that is not installed, did not start, or answers something else; the message has what to do, or its log's end."""


class Peer(msgspec.Struct):
    """A server that answers.

    Args:
        url: where to POST `body` with `headers`.
        pids: of its processes when it was up, to measure their memory or time.
    """

    name: str
    url: str
    headers: dict[str, str]
    body: bytes
    wire: Wire
    pids: list[int] = []

    def answer_of(self, response: bytes) -> list[dict]:
        """An answer's body -> `[{"label", "score"}, ...]`, best first; for the error see `Wire.answer`."""
        return self.wire.answer(response)

    def ask(self) -> list[dict]:
        """
        Raises:
            requests.RequestException: no answer, or one that is not 200.
            ValueError: see `Wire.answer`.
        """
        response = requests.post(self.url, data=self.body, headers=self.headers, timeout=PATIENCE)
        response.raise_for_status()
        return self.answer_of(response.content)


@contextlib.contextmanager
def started(
    name: str,
    archive: Path,
    runtime: str,
    body: bytes,
    expected: str | None = None,
    seconds: float = 120,
    before: Sequence[str] = (),
    **options: float,
) -> Iterator[Peer]:
    """The peer on a free port of loopback; it has answered `body` when this yields, and nothing of it is left afterwards.

    Args:
        archive: the .mar file.
        runtime: "eager" or "fast"; see `bench/work.py`.
        expected: the label that its answer must have.
        seconds: that it may take to answer first.
        before: what its command is given to: `("taskset", "-c", "0")`.
        options: `threads`, `workers`, `batch`, `delay_ms`: see `bench.peers.options.Options`.

    Raises:
        ValueError: no such peer.
        PeerError: see there.
    """
    spoken, python = wire(name), ENVIRONMENTS / name / "bin" / "python"
    if not python.exists():
        raise PeerError(f"{name} is not installed; make {(ENVIRONMENTS / name).relative_to(ROOT)}/.installed")
    chosen = Options(port=free_port(), archive=str(Path(archive).resolve()), runtime=runtime, **options)
    peer = Peer(name, f"http://127.0.0.1:{chosen.port}{spoken.path}", dict(spoken.headers), spoken.wrap(body), spoken)
    environment = {key: value for key, value in os.environ.items() if key not in UNWANTED} | {"OMP_WAIT_POLICY": "PASSIVE"}
    # The programs that it brings along, such as `ray`, are found before anybody else's.
    environment["PATH"] = f"{python.parent}:{environment.get('PATH', os.defpath)}"
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [*before, python, "-m", f"bench.peers.{name}", *command_line(chosen)],
            cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            wait_until_right(peer, process, expected, seconds, log)
            peer.pids = [one.pid for one in family(process.pid)]
            yield peer
        finally:
            end(process)


def command_line(chosen: Options) -> list[str]:
    given = msgspec.structs.asdict(chosen)
    return [word for name, value in given.items() for word in (f"--{name.replace('_', '-')}", str(value))]


def wait_until_right(peer: Peer, process: subprocess.Popen, expected: str | None, seconds: float, log: IO[bytes]) -> None:
    """Ask until it answers; for the error see `PeerError`."""
    end, reason = time.monotonic() + seconds, "no answer"
    while time.monotonic() < end:
        if process.poll() is not None:
            raise PeerError(f"{peer.name} ended with {process.returncode} before it answered; its log:\n{tail(log)}")
        try:
            label = peer.ask()[0]["label"]
        except (requests.RequestException, ValueError) as error:
            reason = str(error)
            time.sleep(0.2)
            continue
        if expected in (None, label):
            return
        raise PeerError(f"{peer.name} answers {label!r}; the eager network answers {expected!r}")
    raise PeerError(f"{peer.name} did not answer within {seconds:.0f} s ({reason}); its log:\n{tail(log)}")


def tail(log: IO[bytes], length: int = 3000) -> str:
    log.seek(max(0, log.seek(0, os.SEEK_END) - length))
    return log.read().decode(errors="replace")


def family(pid: int) -> list[psutil.Process]:
    """A process and all below it."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def end(process: subprocess.Popen) -> None:
    """SIGTERM to its first process, which ends the others; what then is left of its session or below it, is killed.

    What a server has put into a session of its own is found by its parent while that lives, so everybody is noted first.
    """
    members = family(process.pid)
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOPPING)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    for member in members:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()  # psutil sees by the start time whether the number is somebody else's by now
    process.wait()
    psutil.wait_procs(members, timeout=STOPPING)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]
