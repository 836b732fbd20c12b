"""Directories of a stack: every process that was started there ends with their owner.

A private one is then removed; a kept one stays.
"""

import contextlib
import fcntl
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from devstack.embedded import guard

PREFIX = "ext-scheduler-"
LOCK = "lock"
OWNER = "owner.pid"
"""Name of the file that holds the id and start time of the owner."""
GUARD_TIMEOUT_S = 30
LOCK_POLL_INTERVAL_S = 0.1
UNLOCKED_DIRECTORY_MAX_AGE_S = 60
"""An owner may take this long to lock a directory that it has created."""


@contextmanager
def private_directory() -> Iterator[Path]:
    """Create a directory below the system's temporary one, and remove it at the end.

    Its owner holds a lock on it. A guard process holds the same lock and clears the directory when
    the owner dies without doing so; a later start clears what both of them left behind.
    """
    sweep()
    directory = Path(tempfile.mkdtemp(prefix=PREFIX))
    if os.geteuid() == 0:
        # Root's servers run as another user, who must be able to traverse it.
        directory.chmod(0o711)
    with (directory / f"{LOCK}.new").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Renamed once it is held: a lock that is found free has lost its owner.
        Path(lock.name).rename(directory / LOCK)
        guard.record(directory, os.getpid(), OWNER)
        with _guarded(directory, lock):
            try:
                yield directory
            finally:
                guard.clear(directory)


class DirectoryInUse(Exception):
    """Another process owns the directory."""


@contextmanager
def kept_directory(directory: Path) -> Iterator[Path]:
    """Own a directory within the context, created if missing; its files stay.

    When its owner dies, its guard ends the processes that were started there. Raises
    DirectoryInUse while there is another owner.
    """
    directory = directory.resolve()
    if not directory.exists():
        # Root's servers run as another user, who must be able to traverse it.
        directory.mkdir(parents=True, mode=0o711 if os.geteuid() == 0 else 0o700)
    with (directory / LOCK).open("a") as lock:
        _await_lock(lock, directory)
        guard.record(directory, os.getpid(), OWNER)
        guard.end_processes(directory)
        with _guarded(directory, lock, "--keep"):
            try:
                yield directory
            finally:
                guard.end_processes(directory)
                (directory / OWNER).unlink()


def has_owner(directory: Path) -> bool:
    """Return whether the process that owns a directory is running."""
    return bool(guard.recorded_processes(directory / OWNER))


def _await_lock(lock: IO[str], directory: Path) -> None:
    """Lock a directory as soon as the guard of its previous owner has ended."""
    deadline = time.monotonic() + GUARD_TIMEOUT_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if has_owner(directory) or time.monotonic() > deadline:
                raise DirectoryInUse(f"{directory} is in use by another process") from None
            time.sleep(LOCK_POLL_INTERVAL_S)
        else:
            return


def _guarded(directory: Path, lock: IO[str], *options: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-I", guard.__file__, str(directory), *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=[lock.fileno()],
        cwd="/",
        start_new_session=True,
    )


def sweep() -> None:
    """Clear the private directories whose owner and guard have both ended."""
    for directory in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            clear_if_abandoned(directory)


def clear_if_abandoned(directory: Path) -> None:
    """Clear ``directory`` unless a process holds its lock. Raises OSError when it is not ours.

    The age of a locked directory says nothing: its servers, or another sweep, may have written to
    it just now.
    """
    status = directory.lstat()
    if directory.is_symlink() or status.st_uid != os.geteuid():
        return
    try:
        lock = (directory / LOCK).open("r+")
    except FileNotFoundError:
        if time.time() - status.st_mtime > UNLOCKED_DIRECTORY_MAX_AGE_S:
            guard.clear(directory)
        return
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        guard.clear(directory)
