"""deploy/cluster.nft as it is, on a cluster in a network namespace: what other machines reach with it, and without."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.state import ClusterDir
from tests.cluster.ray_cluster import archives, free_settings

pytest.importorskip("ray", reason="make setup EXTRAS=ray")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.server,
    pytest.mark.timeout(600),
    pytest.mark.skipif(os.getuid() != 0, reason="only root makes network namespaces"),
    pytest.mark.skipif(not (shutil.which("nft") and shutil.which("ip")), reason="needs the packages nftables and iproute2"),
]
RULES = Path("deploy/cluster.nft")
NODE, FRONT_DOOR, STRANGER = "10.77.0.1", "10.77.0.10", "10.77.0.66"
HERE, THERE = f"node-{os.getpid()}", f"other-{os.getpid()}"  # the two namespaces
SCAN = """
import json, socket, sys
def is_open(port):
    with socket.socket() as probe:
        probe.bind((sys.argv[2], 0))
        probe.settimeout(0.5)
        return probe.connect_ex((sys.argv[1], port)) == 0
print(json.dumps([port for port in map(int, sys.argv[3:]) if is_open(port)]))
"""


def run(namespace: str, *command: object) -> str:
    """Run a command in a namespace, and return what it printed."""
    done = subprocess.run(
        ["ip", "netns", "exec", namespace, *map(str, command)], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextlib.contextmanager
def two_machines() -> Iterator[None]:
    """Two namespaces with a cable between them. The second has the front door's address, and a stranger's."""
    commands = [
        f"netns add {HERE}", f"netns add {THERE}",
        f"-n {HERE} link add cable type veth peer name cable netns {THERE}",
        f"-n {HERE} address add {NODE}/24 dev cable",
        *(f"-n {THERE} address add {address}/24 dev cable" for address in (FRONT_DOOR, STRANGER)),
        *(f"-n {namespace} link set {device} up" for namespace in (HERE, THERE) for device in ("lo", "cable")),
    ]  # fmt: skip
    try:
        for command in commands:
            subprocess.run(["ip", *command.split()], check=True)
        yield
    finally:
        for namespace in (HERE, THERE):
            subprocess.run(["ip", "netns", "delete", namespace], check=False)


def test_front_doors_reach_the_ingress_and_strangers_nothing(artifacts, tmp_path):
    store, home = archives(artifacts, tmp_path, {"intents": ["1.0"]}, minWorkers=1, maxWorkers=1), ClusterDir(tmp_path / ".ray")
    settings = free_settings()
    ports = {name: getattr(settings, name) for name in ("port", "gcs_port", "dashboard_port")}
    sets = [f"{key}={value}" for key, value in ({"host": NODE, "archives": store, "cpus": 3} | ports).items()]
    cluster = [sys.executable, "-m", "cluster"]
    options = ["--home", home.folder, *(part for one in sets for part in ("--set", one))]
    with two_machines():
        try:
            run(HERE, *cluster, "start", *options, "--store", store, "intents")
            listening = {int(port) for port in re.findall(r"^LISTEN.*?:(\d+) ", run(HERE, "ss", "-Hltn"), re.MULTILINE)}

            def reached(by: str) -> set[int]:
                return set(json.loads(run(THERE, sys.executable, "-c", SCAN, NODE, by, *sorted(listening))))

            open_to_all = reached(STRANGER)
            assert {settings.port, settings.gcs_port} < open_to_all and len(open_to_all) > 5  # why the rules are needed
            assert 10001 not in listening  # Ray's server for remote drivers

            rules = re.sub(r"(define NODES = ).*", rf"\1{{ {NODE} }}", RULES.read_text())
            rules = re.sub(r"(define FRONT_DOORS = ).*", rf"\1{{ {FRONT_DOOR} }}", rules)
            (tmp_path / "rules.nft").write_text(re.sub(r"(define INGRESS = ).*", rf"\g<1>{settings.port}", rules))
            for _ in range(2):  # the second time replaces the first
                run(HERE, "nft", "-f", tmp_path / "rules.nft")
            assert reached(FRONT_DOOR) == {settings.port}
            assert reached(STRANGER) == set()

            address = f"http://{NODE}:{settings.port}/predictions/intents"
            headers = ["-H", f"@{home.folder / 'inference.header'}", "-H", "Content-Type: text/plain"]
            answer = run(THERE, "curl", "-sS", "--interface", FRONT_DOOR, *headers, "--data-binary", "wake me", address)
            assert json.loads(answer)[0]["label"]
        finally:
            run(HERE, *cluster, "stop", *options)
