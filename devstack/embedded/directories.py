"""Private directories that disappear with their owner, together with all that was started there."""

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
SETTLING_SECONDS = 60
"""A directory younger than this may not have got its lock yet."""


@contextmanager
def private_directory() -> Iterator[Path]:
    """A new directory under the system's temporary one, known to nobody else.

    Its owner holds a lock on it. A guard process holds the same lock and clears the directory when
    the owner dies without doing so; what neither could clear goes at somebody's next start.
    """
    sweep()
    directory = Path(tempfile.mkdtemp(prefix=PREFIX))
    if os.geteuid() == 0:
        # Root's servers run as somebody else, who must be able to pass through.
        directory.chmod(0o711)
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
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
    """Clear the private directories whose owner and guard are both gone."""
    for directory in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            if time.time() - directory.stat().st_mtime > SETTLING_SECONDS:
                clear_if_abandoned(directory)


def clear_if_abandoned(directory: Path) -> None:
    """Clear ``directory`` unless somebody holds its lock. Raises OSError when it is not ours."""
    if directory.is_symlink() or directory.stat().st_uid != os.geteuid():
        return
    with (directory / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        guard.clear(directory)
