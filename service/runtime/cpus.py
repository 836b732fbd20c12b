"""How many processors this process may use."""

import os
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")


def usable_cpus(cgroups: Path = CGROUPS, own_cgroup: Path = OWN_CGROUP) -> float:
    """Return the processors it may run on, or what its container's quota amounts to if less."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(cpus or 1, _quota(cgroups, own_cgroup))


def _quota(cgroups: Path, own_cgroup: Path) -> float:
    """Return the quota of control groups of version 2, as processors; infinite without one."""
    try:
        place = own_cgroup.read_text().strip().rpartition("::/")[2]
        share, period = (cgroups / place / "cpu.max").read_text().split()
    except (OSError, ValueError):
        return float("inf")
    return int(share) / int(period) if share.isdecimal() else float("inf")
