"""Three nodes of Ray on the loopback addresses of this machine, and Debian's Redis: nodes die and join under load."""

import shutil
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from cluster import local
from cluster.fleet import Fleet
from cluster.state import ClusterDir
from serving.state import Running
from tests.bundle import wait_for
from tests.cluster.ray_cluster import RayBundle, archives, free_settings
from tests.faults.steady_load import SteadyLoad

pytest.importorskip("ray", reason="make setup EXTRAS=ray")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.server,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not shutil.which("redis-server"), reason="no redis-server; apt-get install redis-server"),
]
GCS_TIMEOUT = 60  # seconds after which the nodes end by themselves if the head's state is lost


class Nodes:
    """A head that runs no replica, and workers that join it, each with a folder, an address and ports of its own."""

    def __init__(self, folder: Path, redis: str, store: Path):
        self.folder, self.store = folder, store
        self.head = ClusterDir(folder / "head" / ".ray")
        self.settings = free_settings(host="127.0.0.2", cpus=0, redis=redis, archives=str(store))
        self.workers: list[ClusterDir] = []
        self.ports: list[int] = []

    def add(self) -> ClusterDir:
        """Let one more worker join."""
        index = len(self.workers)
        home = ClusterDir(self.folder / f"worker{index}" / ".ray")
        home.make()
        shutil.copy(self.head.token_file, home.token_file)
        settings = free_settings(host=f"127.0.0.{3 + index}", cpus=2, archives=str(self.store))
        local.join(home, settings, f"127.0.0.2:{self.settings.gcs_port}")
        self.workers.append(home)
        self.ports.append(settings.port)
        return home

    def kill(self, home: ClusterDir) -> None:
        """End all processes of a node at once, as a power cut does."""
        for process in local.members(home):
            process.kill()

    def stop(self) -> None:
        for home in (*self.workers, self.head):
            local.stop(home)


@pytest.fixture(scope="module")
def redis(tmp_path_factory):
    port = free_settings().port
    folder = tmp_path_factory.mktemp("redis")
    command = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder), "--save", ""]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        yield f"127.0.0.1:{port}"
        server.terminate()


@pytest.fixture(scope="module")
def door(tmp_path_factory):
    """A function that puts HAProxy in front of these ports: it sends a request again if a node breaks the connection."""
    if not shutil.which("haproxy"):
        pytest.skip("no haproxy; apt-get install haproxy")
    started = []

    def open_door(ports: list[int]) -> str:
        port, folder = free_settings().port, tmp_path_factory.mktemp("door")
        servers = "".join(
            f"  server n{index} 127.0.0.1:{each} check inter 500ms fall 2 rise 1\n" for index, each in enumerate(ports)
        )
        (folder / "door.cfg").write_text(
            "defaults\n  mode http\n  timeout connect 1s\n  timeout client 60s\n  timeout server 60s\n  timeout queue 30s\n"
            "  retry-on conn-failure empty-response 500 503\n  retries 5\n  option redispatch 1\n"
            f"frontend door\n  bind 127.0.0.1:{port}\n  default_backend nodes\n"
            f"backend nodes\n  option httpchk GET /-/healthz\n{servers}"
        )
        started.append(subprocess.Popen(["haproxy", "-f", folder / "door.cfg"], stderr=subprocess.DEVNULL))
        return f"http://127.0.0.1:{port}"

    yield open_door
    for process in started:
        process.terminate()
        process.wait(10)


class Door(ClusterDir):
    """The head's folder, with the front door's address in it: the client of this folder goes through the door."""

    url = ""

    def running(self) -> Running | None:
        return Running(0, 0, "", self.url, "", "", "model_store")


@pytest.fixture(scope="module")
def nodes(artifacts, tmp_path_factory, redis):
    folder = tmp_path_factory.mktemp("nodes")
    store = archives(artifacts, folder, {"intents": ["1.0"]}, minWorkers=3, maxWorkers=3)
    made = Nodes(folder, redis, store)
    local.start_head(made.head, made.settings, store)
    try:
        made.add()
        made.add()
        Fleet(made.head, made.settings, store).deploy([("intents", "1.0")])
        yield made
    finally:
        made.stop()


@pytest.fixture
def bundle_of(nodes, artifacts, door):
    home = Door(nodes.head.folder)
    home.url = door(nodes.ports)
    return RayBundle(home, nodes.settings, artifacts, nodes.store)


def running(bundle: RayBundle) -> set[str]:
    """The addresses of the nodes that have replicas."""
    return {replica["node_ip"] for replica in bundle.replicas("intents")}


def test_a_head_that_is_killed_costs_nobody_an_answer_and_comes_back(nodes, bundle_of, report):
    """Longer than the minute after which nodes without a head's state give up."""
    with SteadyLoad(bundle_of, "intents") as load:
        nodes.kill(nodes.head)
        time.sleep(GCS_TIMEOUT + 15)
        load.wait_for_answers(5)
        local.start_head(nodes.head, nodes.settings, nodes.store)
        wait_for(lambda: len(bundle_of.replicas("intents")) == 3, 120)
        load.wait_for_answers(5)
    report.add("cluster: kill -9 of the head for 75 s, with Redis", 1, load, note=load.latency_text())
    assert load.lost_through_client() == Counter()
    assert load.lost_bare() == Counter()


def test_a_node_that_is_killed_costs_the_client_nothing_and_another_takes_its_place(nodes, bundle_of, report):
    with SteadyLoad(bundle_of, "intents") as load:
        nodes.kill(nodes.workers[0])
        load.wait_for_answers(5)
        nodes.add()
        wait_for(lambda: running(bundle_of) == {"127.0.0.4", "127.0.0.5"}, 180)
        load.wait_for_answers(5)
    report.add("cluster: kill -9 of all processes of one of two nodes", 1, load, note="another node joins under load")
    assert load.lost_through_client() == Counter()
