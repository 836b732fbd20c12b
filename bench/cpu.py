"""CPU time of processes, which varies less with other load than elapsed time."""

import psutil


def cpu_s(pid: int) -> float:
    """Return the CPU seconds of a process and its children so far."""
    process = psutil.Process(pid)
    times = [each.cpu_times() for each in (process, *process.children(recursive=True))]
    return sum(each.user + each.system for each in times)


def machine_cpu_s() -> float:
    """Return the CPU seconds of all programs of this machine so far."""
    times = psutil.cpu_times()
    return float(times.user + times.system)
