"""model_defs/cpus.py: the affinity and the quotas of control groups, in files as Linux writes them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from model_defs import cpus
from model_defs.cpus import usable_cpus

HAS_AFFINITY = hasattr(os, "sched_setaffinity")


@pytest.fixture
def eight_cpus(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)


def written(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{text}\n")
    return root


@pytest.mark.parametrize(
    ("files", "count"),
    [
        ({}, 8),
        ({"sys/fs/cgroup/box/cpu.max": "max 100000"}, 8),
        ({"sys/fs/cgroup/box/cpu.max": "300000 100000"}, 3),
        ({"sys/fs/cgroup/box/cpu.max": "150000 100000"}, 2),
        ({"sys/fs/cgroup/box/cpu.max": "5000 100000"}, 1),
        ({"sys/fs/cgroup/box/cpu.max": "9000000 100000"}, 8),
        ({"sys/fs/cgroup/box/cpu.max": "400000 100000", "sys/fs/cgroup/cpu.max": "200000 100000"}, 2),
        ({"sys/fs/cgroup/cpu.max": "200000 100000"}, 2),
        ({"sys/fs/cgroup/box/cpu.max": "nonsense"}, 8),
    ],
)
def test_the_quota_of_cgroup_v2_limits_the_count(eight_cpus, tmp_path, files, count):
    assert usable_cpus(written(tmp_path, {"proc/self/cgroup": "0::/box"} | files)) == count


@pytest.mark.parametrize(
    ("folder", "quota", "count"),
    [("cpu/box", -1, 8), ("cpu/box", 300_000, 3), ("cpu/box", 50_000, 1), ("cpu", 250_000, 3), ("cpuset/box", 100_000, 8)],
)
def test_the_quota_of_cgroup_v1_limits_the_count(eight_cpus, tmp_path, folder, quota, count):
    groups = "4:memory:/box\n3:cpuset:/box\n2:cpu,cpuacct:/box\n0::/"
    limits = {"cpu.cfs_quota_us": str(quota), "cpu.cfs_period_us": "100000"}
    files = {f"sys/fs/cgroup/{folder}/{name}": text for name, text in limits.items()}
    assert usable_cpus(written(tmp_path, {"proc/self/cgroup": groups} | files)) == count


def test_a_path_of_the_host_that_the_container_does_not_see_is_skipped(eight_cpus, tmp_path):
    files = {"proc/self/cgroup": "0::/../../system.slice/box", "sys/fs/cgroup/cpu.max": "100000 100000"}
    assert usable_cpus(written(tmp_path, files)) == 1


def test_a_system_without_control_groups_has_the_cpus_of_its_affinity(eight_cpus, tmp_path):
    assert usable_cpus(tmp_path) == 8


@pytest.mark.skipif(not HAS_AFFINITY, reason="this system has no affinity")
def test_a_process_that_is_pinned_to_one_cpu_uses_one():
    program = "import os, sys; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
    program += "from model_defs.cpus import usable_cpus; print(usable_cpus(), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "False"]


def test_the_real_count_is_that_of_this_machine_or_less():
    assert 1 <= cpus.usable_cpus() <= (os.cpu_count() or 1)
