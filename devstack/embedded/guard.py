"""Ends the processes of a private directory, and removes the directory.

Run as a program (``guard.py DIRECTORY``) it waits for its standard input to end, which happens when
the owner exits in whatever way, SIGKILL included, and then clears the directory in its place; with
``--keep`` it only ends the processes.
"""

import contextlib
import shutil
import sys
import time
from pathlib import Path

import psutil

RECORD = "server.pid"
"""Name of the file in a server's directory that holds the id and start time of its process."""
KILL_TIMEOUT_S = 10
CLEAR_TIMEOUT_S = 30
RETRY_INTERVAL_S = 0.05
START_TIME_TOLERANCE_S = 1


def record(directory: Path, pid: int, name: str = RECORD) -> None:
    """Record that process ``pid`` belongs to ``directory``, so that it ends with it."""
    started = psutil.Process(pid).create_time()
    (directory / name).write_text(f"{pid} {started}")


def forget(directory: Path) -> None:
    """Record that no process belongs to ``directory`` any more."""
    (directory / RECORD).unlink(missing_ok=True)


def clear(directory: Path) -> None:
    """Kill every process recorded in ``directory`` or one level below it, then remove all of it.

    Children of a killed server end a moment later and may still write files until then, so removal
    is repeated until nothing is left or ``CLEAR_TIMEOUT_S`` has passed.
    """
    deadline = time.monotonic() + CLEAR_TIMEOUT_S
    while directory.exists():
        end_processes(directory)
        shutil.rmtree(directory, ignore_errors=True)
        if time.monotonic() > deadline:
            return
        if directory.exists():
            time.sleep(RETRY_INTERVAL_S)


def end_processes(directory: Path) -> None:
    """Kill every process recorded in ``directory`` or one level below it."""
    records = [*directory.glob(RECORD), *directory.glob(f"*/{RECORD}")]
    processes = [process for path in records for process in recorded_processes(path)]
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, timeout=KILL_TIMEOUT_S)


def recorded_processes(path: Path) -> list[psutil.Process]:
    """Return the process of a record with its descendants; none when it has ended.

    The start time distinguishes it from a later process with the same id.
    """
    try:
        pid, started = path.read_text().split()
        process = psutil.Process(int(pid))
        if abs(process.create_time() - float(started)) > START_TIME_TOLERANCE_S:
            return []
        return [process, *process.children(recursive=True)]
    except (OSError, ValueError, psutil.NoSuchProcess):
        return []


if __name__ == "__main__":
    sys.stdin.buffer.read()
    (end_processes if "--keep" in sys.argv else clear)(Path(sys.argv[1]))
