"""Three nodes on one machine, each with an address of its own: a head that runs no replica, and two that do. A real Redis."""

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from cluster import local
from cluster.fleet import Fleet
from cluster.settings import Settings
from cluster.state import ClusterDir
from serving.state import replace
from tests.bundle import wait_for
from tests.cluster.ray_cluster import free_settings, running_replicas

PASSWORD = "of-a-test"
HEAD, WORKERS = "127.0.0.2", ("127.0.0.3", "127.0.0.4", "127.0.0.5")
needs_redis = pytest.mark.skipif(shutil.which("redis-server") is None, reason="the package redis-server is not installed")


class ThreeNodes:
    """A cluster with two nodes for replicas. Each node has a folder of its own, as on a machine of its own."""

    def __init__(self, folder: Path, store: Path, redis: str):
        self.folder, self.store = folder, store
        self.settings = free_settings(archives=str(store), redis=redis, host=HEAD, cpus=0, gpu_share=0.5)
        self.head = ClusterDir(folder / "head")
        self.homes = [self.head]
        self.workers: dict[str, tuple[ClusterDir, Settings]] = {}

    def start(self, models: list[tuple[str, str]]) -> None:
        local.start_head(self.head, self.settings, self.store)
        self.join(WORKERS[0], 2)  # the gateway, and one replica
        self.join(WORKERS[1], 8, 1)
        self.fleet = Fleet(self.head, self.settings, self.store)
        self.fleet.deploy(models)

    def join(self, host: str, cpus: int, gpus: int = 0) -> None:
        """Start a node with the head's token and an ingress of its own.

        Args:
            cpus, gpus: that it says it has.
        """
        home = ClusterDir(self.folder / host)
        settings = free_settings(archives=str(self.store), redis=self.settings.redis, host=host, cpus=cpus, gpus=gpus)
        self.homes.append(home)
        home.make()
        replace(home.token_file, self.head.token().encode())
        local.join(home, settings, f"{HEAD}:{self.settings.gcs_port}")
        self.workers[host] = home, settings

    def kill(self, host: str) -> None:
        """End all processes of a node with SIGKILL."""
        kill_all(self.head if host == HEAD else self.workers.pop(host)[0])

    def replicas(self, application: str) -> list[dict]:
        """Serve's description of the replicas that run."""
        return running_replicas(self.fleet, application)

    def members(self) -> list[psutil.Process]:
        return [process for home in self.homes for process in local.members(home)]

    def stop(self) -> None:
        for home in reversed(self.homes):
            local.stop(home)


def kill_all(home: ClusterDir) -> None:
    found = local.members(home)
    assert found
    for process in found:
        with contextlib.suppress(OSError):
            process.kill()
    wait_for(lambda: not local.members(home))


@contextlib.contextmanager
def redis_server(folder: Path, port: int) -> Iterator[str]:
    """A Redis with a password that writes each change to disk. Yields its address."""
    folder.mkdir()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--appendonly", "yes",
               "--appendfsync", "always", "--requirepass", PASSWORD]  # fmt: skip
    with (folder / "redis.log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            yield f"127.0.0.1:{port}"
        finally:
            process.terminate()
