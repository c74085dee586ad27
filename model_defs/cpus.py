"""How many CPUs this process may use.

The machine's count is too high in a container: a control group (cgroup) grants a part of it, and threads beyond that part
only wait for each other.
"""

import math
import os
from collections.abc import Iterator
from pathlib import Path

CGROUPS = Path("sys/fs/cgroup")


def usable_cpus(root: Path = Path("/")) -> int:
    """The CPUs of the process's affinity, at most as many as its control groups grant, rounded up; at least 1.

    Args:
        root: where `proc/` and `sys/` are.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    granted = min((quota(group) for group in control_groups(root)), default=math.inf)
    return affinity if granted >= affinity else max(1, math.ceil(granted))


def control_groups(root: Path) -> Iterator[Path]:
    """The folders of the groups that limit this process's CPUs: its own one and those above it, in cgroup v1 and v2.

    A container may see the host's path in `proc/self/cgroup` and only the end of it in `sys/`, so a folder may be missing.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)  # "0::/the/path" in v2, "4:cpu,cpuacct:/the/path" in v1
        if controllers and "cpu" not in controllers.split(","):
            continue
        mount = root / CGROUPS / ("cpu" if controllers else "")
        group = mount / path.strip("/")
        yield group
        yield from (above for above in group.parents if above.is_relative_to(mount))


def quota(group: Path) -> float:
    """The CPUs that one group grants; infinite if it sets no limit."""
    try:
        if (file := group / "cpu.max").exists():  # v2
            allowed, period = file.read_text().split()
        else:
            allowed, period = ((group / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        microseconds = math.inf if allowed == "max" else int(allowed)
        return microseconds / int(period) if microseconds > 0 else math.inf  # v1 has -1 for no limit
    except (OSError, ValueError):
        return math.inf
