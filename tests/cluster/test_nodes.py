"""Three nodes, shown on one machine: a head killed, a node killed, a node added, all under load. Redis keeps the head's state."""

import re
import time
from collections import Counter

import pytest

from bench.front_door import CONFIG
from cluster import local
from serving.processes import free_ports
from serving.state import Running, StateDir
from tests import front_door
from tests.bundle import Bundle, wait_for
from tests.cluster.ray_cluster import archives
from tests.cluster.three_nodes import HEAD, PASSWORD, WORKERS, ThreeNodes, needs_redis, redis_server
from tests.faults.steady_load import CALLERS, SteadyLoad

pytest.importorskip("ray", reason="make setup EXTRAS=ray")
pytestmark = [pytest.mark.slow, pytest.mark.server, pytest.mark.timeout(900), needs_redis, *front_door.needs_door]
SENDS_AGAIN = {"DOOR_BUFFER": 65536, "DOOR_RETRY_ON": "conn-failure empty-response"}  # as docs/cluster.md says
KEY = "key-of-a-caller"
PACE = 0.05  # seconds between two requests of a caller: nodes start meanwhile, on the same cores
ALONE = 70  # seconds without a head: more than the 60 after which Ray's own settings end every node


class CallersDir(StateDir):
    """What a caller of the front door knows: its address, its certificate and a key."""

    def running(self) -> Running:
        return self.last()


@pytest.fixture(scope="module")
def nodes(artifacts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("nodes")
    store = archives(artifacts, folder, {"intents": ["1.0", "2.0"]}, minWorkers=2, maxWorkers=2, deviceType="cpu")
    archives(artifacts, folder, {"digits": ["1.0"]}, minWorkers=2, maxWorkers=2, deviceType="gpu")
    [port] = free_ports(1)
    with pytest.MonkeyPatch.context() as patch, redis_server(folder / "redis", port) as redis:
        patch.setenv(local.REDIS_PASSWORD, PASSWORD)
        running = ThreeNodes(folder, store, redis)
        try:
            running.start([("intents", "1.0")])
            yield running
        finally:
            running.stop()
        assert not running.members()


@pytest.fixture(scope="module")
def door(nodes, artifacts, tmp_path_factory):
    """The cluster as a caller of the front door sees it, which has both nodes behind it."""
    folder = tmp_path_factory.mktemp("door")
    ingresses = [settings.ingress.removeprefix("http://") for _, settings in nodes.workers.values()]
    config = folder / "haproxy.cfg"
    config.write_text(several(CONFIG.read_text(), ingresses))
    nodes.head.admit()
    with front_door.running(folder, [KEY], config, DOOR_TOKEN=nodes.head.proxy, **SENDS_AGAIN) as running:
        home = CallersDir(folder / "home")
        home.make()
        home.write(Running(0, 0, "", running.url, "", "", str(nodes.store), str(running.certificate)))
        home.keys_file.write_text(f'{{"inference": {{"key": "{KEY}"}}}}')
        yield Bundle(home, artifacts, nodes.store)


def several(config: str, addresses: list[str]) -> str:
    """docs/haproxy.cfg with a line for each node, as docs/cluster.md says."""

    def lines(found: re.Match) -> str:
        each = (found[0].replace('"${TORCHSERVE}"', address) for address in addresses)
        return "\n".join(re.sub(r"(server |torchserve/)one\b", rf"\1node{index}", line) for index, line in enumerate(each))

    return re.sub(r'^ +server one "\$\{TORCHSERVE\}".*$', lines, config, flags=re.MULTILINE)


def held(nodes: ThreeNodes, model: str = "intents") -> dict[str, int]:
    """How many replicas of the model each node runs."""
    return dict(Counter(replica["node_ip"] for replica in nodes.replicas(model)))


def test_each_node_has_a_replica_and_the_head_has_none(nodes):
    assert held(nodes) == {host: 1 for host in WORKERS[:2]}


def test_two_replicas_with_half_a_gpu_each_go_to_the_node_that_offers_one(nodes):
    nodes.fleet.deploy([("digits", "1.0")])
    assert held(nodes, "digits") == {WORKERS[1]: 2}
    assert nodes.fleet.undeploy("digits") == ["digits"]


def test_without_its_head_the_cluster_answers_and_a_new_head_takes_it_over(nodes, door, report):
    with SteadyLoad(door, "intents", PACE) as load:
        nodes.kill(HEAD)
        started = time.monotonic()
        while time.monotonic() < started + ALONE:
            load.wait_for_answers(5)
            time.sleep(1)
        local.start_head(nodes.head, nodes.settings, nodes.store)
        wait_for(lambda: sum(held(nodes).values()) == 2, 60)
        assert nodes.fleet.promote("intents", "2.0") == "1.0"
        assert nodes.fleet.rollback("intents") == ("1.0", "2.0")
    report.add("cluster: the head killed, a new one after 70 s, a promotion and its rollback", 1, load, note=load.latency_text())
    assert load.lost_bare() == load.lost_through_client() == Counter(), load.losses()


def test_a_node_without_its_haproxy_is_left_out_until_it_is_back(nodes, door, trials, report):
    home, settings = nodes.workers[WORKERS[0]]
    with SteadyLoad(door, "intents", PACE) as load:
        for _ in range(trials):
            for process in local.members(home):
                if process.name() == "haproxy":
                    process.kill()
            load.wait_for_answers(5)
            wait_for(lambda: local.ingress_program(settings.port) == "haproxy", 60)
            load.wait_for_answers(20)
    report.add("cluster: kill -9 of a node's HAProxy, through the front door", trials, load, note=load.latency_text())
    assert load.lost_bare() == load.lost_through_client() == Counter(), load.losses()


def test_a_node_that_joins_and_one_that_is_killed_cost_nothing(nodes, door, report):
    with SteadyLoad(door, "intents", PACE) as load:
        nodes.join(WORKERS[2], 4)
        load.wait_for_answers(5)
        started = time.monotonic()
        nodes.kill(WORKERS[1])
        wait_for(lambda: held(nodes) == {WORKERS[0]: 1, WORKERS[2]: 1}, 180)
        seconds = time.monotonic() - started
        load.wait_for_answers(5)
    report.add("cluster: a node joins, another is killed with -9", 1, load, [seconds])
    assert load.lost_through_client() == Counter()
    assert sum(load.lost_bare().values()) <= CALLERS  # what it had in hand
