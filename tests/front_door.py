"""The front door, docs/haproxy.cfg, with a certificate of its own: the real HAProxy."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import front_door
from tests.certificates import needs_openssl, self_signed

needs_door = [needs_openssl, pytest.mark.skipif(shutil.which("haproxy") is None, reason="the package haproxy is not installed")]


class FrontDoor(front_door.FrontDoor):
    """A front door that runs, and its certificate."""

    certificate: Path


@contextlib.contextmanager
def running(folder: Path, keys: list[str], config: Path = front_door.CONFIG, **environment: object) -> Iterator[FrontDoor]:
    """For the arguments see `bench.front_door.running`."""
    certificate, key = self_signed(folder)
    both = folder / "door.pem"
    both.write_text(certificate.read_text() + key.read_text())
    with front_door.running(folder, both, keys, config, **environment) as door:
        yield FrontDoor(door.port, door.log, certificate)
