"""What extensions stored, kept in a file: one line of JSON per change, replayed at the start.

A process that is killed loses nothing that a guest was told is written, as far as the machine
itself goes on; a line that it did not finish is dropped.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
from msgspec import Struct


class StoredChange(Struct, frozen=True, omit_defaults=True):
    """An entry at a revision; without a value it was deleted, and the revision is the latest."""

    area: tuple[str, str]
    key: tuple[str, str]
    revision: int
    value: bytes | None = None


class DamagedJournalError(Exception):
    """A line that was finished cannot be read; ``str`` names the file and the line."""


class StorageJournal:
    """The changes in a file. Not thread-safe; no method awaits."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def replay(self) -> Iterator[StoredChange]:
        """Return the changes in their order. Raises DamagedJournalError, OSError."""
        if not self._path.exists():
            return
        for number, line in enumerate(self._path.read_bytes().split(b"\n")[:-1], start=1):
            try:
                yield msgspec.json.decode(line, type=StoredChange)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
                raise DamagedJournalError(f"{self._path}, line {number}: {error}") from None

    def compact(self, changes: Iterable[StoredChange]) -> None:
        """Replace what is in the file."""
        partial = self._path.with_suffix(".partial")
        partial.write_bytes(b"".join(map(_line, changes)))
        partial.replace(self._path)

    def append(self, change: StoredChange) -> None:
        """Add a change."""
        with self._path.open("ab") as file:
            file.write(_line(change))


def _line(change: StoredChange) -> bytes:
    return msgspec.json.encode(change) + b"\n"
