"""A host whose clock is wrong: libfaketime lets it step while the processes of the host run.

Only the time of day is moved; timeouts count on. Debian's ``faketime`` brings the library.
"""

from pathlib import Path

DIRECTORIES = ("usr/lib/*/faketime", "usr/local/lib/faketime")
FOR_THREADS, FOR_ONE_THREAD = "libfaketimeMT.so.1", "libfaketime.so.1"
"""The first one locks: a signal handler that asks for the time, as PostgreSQL's do, would wait for
ever."""
READ_EVERY_S = 1


class NoHostClock(Exception):
    """This machine has no libfaketime; the message says how to get it."""


class HostClock:
    """The clock of one host; ``variables`` are the environment of its processes."""

    def __init__(self, path: Path, *, of_threads: bool = True) -> None:
        """Write its file, in which it is right. Raises NoHostClock.

        ``of_threads``: whether the host's processes have several.
        """
        self._path = path
        self.variables = {
            "LD_PRELOAD": library(FOR_THREADS if of_threads else FOR_ONE_THREAD),
            "FAKETIME_TIMESTAMP_FILE": str(path),
            "FAKETIME_CACHE_DURATION": str(READ_EVERY_S),
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        self.step(0)

    def step(self, seconds: int) -> None:
        """Set the clock some seconds ahead of the right time, or behind it (negative)."""
        new = self._path.with_suffix(".new")
        new.write_text(f"{seconds:+d}\n")
        new.rename(self._path)


def library(name: str) -> str:
    """Return the library's path. Raises NoHostClock."""
    for directory in DIRECTORIES:
        for found in Path("/").glob(f"{directory}/{name}"):
            return str(found)
    raise NoHostClock("it takes libfaketime, of Debian's package faketime")
