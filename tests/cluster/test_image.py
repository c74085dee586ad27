"""deploy/Dockerfile: it names files that exist, and sets what a local node has. No image is built here."""

import re
from pathlib import Path

from cluster.local import FAST

TEXT = Path("deploy/Dockerfile").read_text(encoding="utf-8")


def test_what_it_copies_exists():
    sources = [source for line in re.findall(r"^COPY (?!--from)(.*) \S+$", TEXT, re.M) for source in line.split()]
    assert sources and not [source for source in sources if not Path(source).exists()]


def test_it_is_not_root_and_needs_no_home():
    assert re.search(r"^USER 1000$", TEXT, re.M) and "HOME=/tmp" in TEXT


def test_its_switches_are_those_of_a_local_node():
    given = dict(re.findall(r"(RAY_\w+|OMP_WAIT_POLICY)=(\S+)", TEXT))
    assert given == {name: FAST[name] for name in given} and "RAY_SERVE_ENABLE_HA_PROXY" in given


def test_it_holds_the_nodes_code_and_no_other():
    assert re.findall(r"^COPY (cluster\S*)", TEXT, re.M) == ["cluster/__init__.py", "cluster/node"]
