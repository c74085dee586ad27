"""The front door, docs/haproxy.cfg, as a process: the real HAProxy."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.processes import free_ports
from tests.certificates import needs_openssl, self_signed

CONFIG = Path("docs/haproxy.cfg")
needs_door = [needs_openssl, pytest.mark.skipif(shutil.which("haproxy") is None, reason="the package haproxy is not installed")]


class FrontDoor:
    """A front door that runs: its port on 127.0.0.1, its certificate and its log."""

    def __init__(self, folder: Path):
        [self.port] = free_ports(1)
        self.url = f"https://127.0.0.1:{self.port}"
        self.certificate, self.log = folder / "server.pem", folder / "haproxy.log"


@contextlib.contextmanager
def front_door(folder: Path, keys: list[str], config: Path = CONFIG, **environment: object) -> Iterator[FrontDoor]:
    """
    Args:
        keys: of its callers.
        environment: the variables of docs/haproxy.cfg that say where the servers are.
    """
    running = FrontDoor(folder)
    certificate, key = self_signed(folder)
    (folder / "door.pem").write_text(certificate.read_text() + key.read_text())
    (folder / "callers.lst").write_text("".join(f"{key}\n" for key in keys))
    own = {
        "DOOR_ADDRESS": f"127.0.0.1:{running.port}",
        "DOOR_CERTIFICATE": str(folder / "door.pem"),
        "DOOR_CALLERS": str(folder / "callers.lst"),
    }
    with running.log.open("wb") as log:
        proxy = subprocess.Popen(
            ["haproxy", "-db", "-f", str(config)],
            env=os.environ | own | {name: str(value) for name, value in environment.items()}, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        yield running
    finally:
        proxy.terminate()
        proxy.wait(20)
