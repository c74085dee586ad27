"""A peer's process: started in the peer's own environment, asked until it answers, and ended with all its children.

with started("litserve", archive, "eager", body) as peer:
    peer.ask()
"""

import contextlib
import os
import signal
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
from serving import processes

ROOT = Path(__file__).parents[2]
ENVIRONMENTS = ROOT / ".venv-bench"  # see bench/requirements/install.sh
PATIENCE = 30  # seconds for one answer, a warm-up included
STOPPING = 20  # seconds that a peer may take to stop by itself
# What every server that is measured gets: OpenMP threads that sleep while they wait, and no telemetry from onnxruntime.
ENVIRONMENT = {"OMP_WAIT_POLICY": "PASSIVE", "ORT_DISABLE_TELEMETRY": "1"}
# With these a peer would import code or packages from elsewhere, or read the options of another peer.
UNWANTED = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", OPTIONS)


class PeerError(BundleError):
    """A peer is not installed, did not start, or gives another answer; the message says what to do, or has its log's end."""


class Peer(msgspec.Struct):
    """A running peer that has answered.

    Args:
        url: where to POST `body` with `headers`.
        pids: its processes, to measure their memory or time.
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
            requests.RequestException: no answer, or a status that is not 200.
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
    python: Path | None = None,
    **options: float,
) -> Iterator[Peer]:
    """The peer on a free port of the loopback interface. It has answered `body` when this yields. Afterwards it is ended.

    Args:
        archive: the .mar file.
        runtime: "eager" or "fast"; see `bench/work.py`.
        expected: the label that its answer must have.
        seconds: that it may take until its first answer.
        before: words before its command: `("taskset", "-c", "0")`.
        python: that has its packages; else that of its own environment.
        options: `threads`, `workers`, `batch`, `delay_ms`: see `bench.peers.options.Options`.

    Raises:
        ValueError: no such peer.
        PeerError: it does not run, or gives another answer.
    """
    spoken, python = wire(name), python or ENVIRONMENTS / name / "bin" / "python"
    if not python.exists():
        raise PeerError(f"{name} is not installed; make {(ENVIRONMENTS / name).relative_to(ROOT)}/.installed")
    chosen = Options(port=processes.free_ports(1)[0], archive=str(Path(archive).resolve()), runtime=runtime, **options)
    peer = Peer(name, f"http://127.0.0.1:{chosen.port}{spoken.path}", dict(spoken.headers), spoken.wrap(body), spoken)
    environment = {key: value for key, value in os.environ.items() if key not in UNWANTED} | ENVIRONMENT
    # Programs that it brings, such as `ray`, are found before any others.
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
    """The options as a peer's command line takes them."""
    given = msgspec.structs.asdict(chosen)
    return [word for name, value in given.items() for word in (f"--{name.replace('_', '-')}", str(value))]


def wait_until_right(peer: Peer, process: subprocess.Popen, expected: str | None, seconds: float, log: IO[bytes]) -> None:
    """Ask until it answers; for the error see `PeerError`."""
    deadline, reason = time.monotonic() + seconds, "no answer"
    while time.monotonic() < deadline:
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
    """The last bytes of a log, as text."""
    log.seek(max(0, log.seek(0, os.SEEK_END) - length))
    return log.read().decode(errors="replace")


def family(pid: int) -> list[psutil.Process]:
    """A process and all its descendants."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def end(process: subprocess.Popen) -> None:
    """Send SIGTERM to a server's first process, then kill what is left of its session and its descendants.

    The descendants are listed first: while their parent lives, it also leads to those in other sessions.
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
            member.kill()  # psutil compares the start time, so another process with this id is safe
    process.wait()
    psutil.wait_procs(members, timeout=STOPPING)
