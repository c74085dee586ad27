"""`@pytest.mark.alone`: while such a test runs, no test runs in another of pytest-xdist's processes. For what measures how much a
server can do, on a machine whose cores the others would take. A plugin."""

import fcntl
from pathlib import Path

import pytest

ROOM = Path(__file__)  # any two files: only their locks are used
DOOR = ROOM.with_name("conftest.py")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """Whoever wants to be alone waits in the door, so that nobody else gets in before."""
    with DOOR.open() as door, ROOM.open() as room:
        fcntl.flock(door, fcntl.LOCK_EX)
        fcntl.flock(room, fcntl.LOCK_EX if item.get_closest_marker("alone") else fcntl.LOCK_SH)
        fcntl.flock(door, fcntl.LOCK_UN)
        try:
            return (yield)
        finally:
            fcntl.flock(room, fcntl.LOCK_UN)  # closing it is not enough where a test has forked: torch's compiler keeps a pool
