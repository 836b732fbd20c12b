"""Ends what runs in a private directory, and removes the directory.

Run as a program (``guard.py DIRECTORY``) it waits for its standard input to end, which happens when
the owner exits in whatever way, SIGKILL included, and then clears up in its place.
"""

import contextlib
import shutil
import sys
from pathlib import Path

import psutil

RECORD = "server.pid"
"""Name of the file in a server's directory that says which process works there."""


def record(directory: Path, pid: int) -> None:
    """Note that process ``pid`` works in ``directory``, so that it does not outlive it."""
    started = psutil.Process(pid).create_time()
    (directory / RECORD).write_text(f"{pid} {started}")


def forget(directory: Path) -> None:
    """Note that no process works in ``directory`` any more."""
    (directory / RECORD).unlink(missing_ok=True)


def clear(directory: Path) -> None:
    """Kill every process recorded in ``directory`` or one level below it, then remove all of it."""
    records = [*directory.glob(RECORD), *directory.glob(f"*/{RECORD}")]
    doomed = [process for path in records for process in recorded(path)]
    for process in doomed:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(doomed, timeout=10)
    shutil.rmtree(directory, ignore_errors=True)


def recorded(path: Path) -> list[psutil.Process]:
    """The process a record speaks of, with its descendants; none when it has ended.

    The start time tells it from a stranger that was given the same number later.
    """
    try:
        pid, started = path.read_text().split()
        process = psutil.Process(int(pid))
        if abs(process.create_time() - float(started)) > 1:
            return []
        return [process, *process.children(recursive=True)]
    except (OSError, ValueError, psutil.NoSuchProcess):
        return []


if __name__ == "__main__":
    sys.stdin.buffer.read()
    clear(Path(sys.argv[1]))
