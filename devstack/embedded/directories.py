"""Private directories that are removed with their owner, along with every process started there."""

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

from devstack.embedded import guard

PREFIX = "ext-scheduler-"
LOCK = "lock"
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
        with subprocess.Popen(
            [sys.executable, "-I", guard.__file__, str(directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[lock.fileno()],
            cwd="/",
            start_new_session=True,
        ):
            try:
                yield directory
            finally:
                guard.clear(directory)


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
