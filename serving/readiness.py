"""Whether the server is ready: all that should be hosted is hosted, has all its workers, and answers its samples.

`registered.json` says what should be hosted. A thread per version looks after it. A worker's death costs nothing to notice: the
system knows whether a process lives. TorchServe is asked only when a process has ended, while something is wrong, and now and
then, because with a GPU its answer starts a program.
"""

import logging
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from serving.client import Client
from serving.errors import ServerError
from serving.processes import is_alive
from serving.proof import Busy, Proof
from serving.state import StateDir

TICK = 0.2  # seconds between two looks at the processes
LOOKING, REFRESHING = 0.5, 10  # seconds between two questions to TorchServe: while something is wrong, and otherwise
RETRYING, PROVING = 0.5, 30  # the same between two samples
PATIENCE = 5  # seconds for TorchServe's description
UNPROVEN = "it has not answered its samples yet"

log = logging.getLogger(__name__)


class Watched:
    """One version that should be hosted, and why it is not ready.

    A version answers all its samples before it counts as ready, one after each lost worker, and one each `PROVING` seconds.

    Args:
        digest: of its archive, as `registered.json` has it.
        is_unproven: nobody has sent it its samples. A version that is not the default counts as ready with its workers, because
            `make promote` proves it before it is the default.
    """

    def __init__(self, home: StateDir, model: str, version: str, digest: str, is_unproven: bool):
        self.home, self.model, self.version, self.digest = home, model, version, digest
        self.workers: list[psutil.Process] = []  # those that are ready
        self.complete = 0  # how many there were when it last had all
        self.archive = Path()
        self.proof: Proof | None = None
        self.is_proven = False
        self.fault: str | None = "it is not hosted"  # in TorchServe's description
        self.wrong = UNPROVEN if is_unproven else None  # in the answers to samples
        self.looked = self.asked = 0.0
        self.lock, self.is_over = threading.Lock(), threading.Event()
        self.take(self.look)
        threading.Thread(target=self.watch, daemon=True).start()

    def reason(self) -> str | None:
        """Why this version is not ready; None if it is."""
        if not self.fault and self.has_died():
            self.take(self.look)  # TorchServe may have ended a worker because somebody wants fewer
        return self.fault or self.wrong

    def watch(self) -> None:
        while not self.is_over.wait(TICK):
            now = time.monotonic()
            if self.has_died() or now - self.looked > (LOOKING if self.fault else REFRESHING):
                self.take(self.look)
            if not self.fault and now - self.asked > (RETRYING if self.wrong else PROVING):
                self.take(self.ask)

    def take(self, step: Callable[[], None]) -> None:
        """Take a step. What fails in it is the reason why the version is not ready."""
        try:
            step()
        except (ServerError, OSError, zipfile.BadZipFile) as error:
            self.fault = str(error)
        except Exception as error:  # this thread must not end
            log.exception("%s %s", self.model, self.version)
            self.fault = f"{type(error).__name__}: {error}"

    def has_died(self) -> bool:
        return not all(map(is_alive, self.workers))

    def look(self) -> None:
        """Ask TorchServe for the workers."""
        with self.lock:
            self.looked = time.monotonic()
            described = Client.of(self.home, patience=PATIENCE, retrying=0).describe(self.model, self.version)[0]
            self.archive = Path(self.home.require().model_store, Path(described["modelUrl"]).name)
            self.workers = living(described["workers"])
            wanted, ready = described["minWorkers"], len(self.workers)
            enough = min(wanted, self.complete or wanted)  # more workers may be on their way; that is no fault
            if ready >= wanted:
                self.complete = wanted
            was_wrong, self.fault = self.fault, None if ready >= enough > 0 else f"{ready} of {wanted} workers are ready"
            if was_wrong and not self.fault and self.is_proven:
                self.asked, self.wrong = 0.0, UNPROVEN

    def ask(self) -> None:
        """Send one sample; the first time, all of them."""
        self.asked = time.monotonic()
        self.proof = self.proof or Proof.of(self.archive, self.model, self.version)
        try:
            self.proof.check(Client.of(self.home, retrying=0), 1 if self.is_proven else None)
        except Busy:
            return
        except ServerError as error:
            self.wrong = str(error)
            return
        self.is_proven, self.wrong = True, None


def living(workers: list[dict[str, Any]]) -> list[psutil.Process]:
    """The processes of those workers that TorchServe calls ready, and that have not ended since."""
    found = []
    for worker in workers:
        if worker["status"] == "READY":
            try:
                found.append(psutil.Process(worker["pid"]))
            except (psutil.Error, ValueError):  # TorchServe does not know yet that it has ended
                continue
    return [process for process in found if is_alive(process)]


class Readiness:
    """All versions that should be hosted."""

    def __init__(self, home: StateDir):
        self.home, self.lock = home, threading.Lock()
        self.watched: dict[tuple[str, str], Watched] = {}

    def follow(self) -> dict[tuple[str, str], Watched]:
        """Watch what should be hosted now, and nothing else."""
        with self.lock:
            before, self.watched = self.watched, {}
            for model, known in self.home.registered().items():
                for version, digest in known.versions.items():
                    watched = before.get((model, version))
                    if watched and not watched.digest:  # a start wanted it, and has hosted it since
                        watched.digest = digest
                    if watched is None or watched.digest != digest:
                        is_promoted = (model, known.previous) in before  # `make promote` has proved it since
                        is_unproven = version == known.default and not is_promoted
                        watched = Watched(self.home, model, version, digest, is_unproven)
                    self.watched[model, version] = watched
            for key, watched in before.items():
                if self.watched.get(key) is not watched:
                    watched.is_over.set()
            return self.watched

    def is_live(self) -> bool:
        return self.home.running() is not None

    def faults(self) -> list[str]:
        """Why the server is not ready; empty if it is."""
        server = self.home.running()
        if server is None or server.is_stopping:
            return ["the server is stopping" if server else "the server has ended"]
        watched = self.follow().values()
        faults = [f"{each.model} {each.version}: {reason}" for each in watched if (reason := each.reason())]
        return faults if watched else ["no model is hosted"]

    def fault(self, model: str, version: str = "") -> str | None:
        """Why a version, by default the default one, is not ready; None if it is.

        Raises:
            LookupError: it should not be hosted.
        """
        server = self.home.running()
        if server is None or server.is_stopping:
            return "the server is stopping"
        return self.follow()[model, version or self.home.registered()[model].default].reason()
