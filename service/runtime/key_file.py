"""The keys that contexts are verified with, reloaded when their file changes."""

import time
from collections.abc import Callable
from logging import getLogger
from pathlib import Path

from contracts.context import InvalidKeySet, KeySet, parse_key_set

log = getLogger(__name__)

CHECK_INTERVAL_S = 1.0


class KeysUnusableError(Exception):
    """The key file cannot be used; the message is one line for a person."""


class KeyRing:
    """The key set in a file. A broken new version is reported, and the last good one kept.

    Raises KeysUnusableError when the first version cannot be used.
    """

    def __init__(self, file: Path, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._file = file
        self._monotonic = monotonic
        self._checked_at = monotonic()
        self._stamp, self._keys = self._read()

    def current(self) -> KeySet:
        """Return the keys, checking the file at most once a second."""
        now = self._monotonic()
        if now - self._checked_at >= CHECK_INTERVAL_S:
            self._checked_at = now
            self._reload_if_changed()
        return self._keys

    def _reload_if_changed(self) -> None:
        try:
            if _stamp(self._file) != self._stamp:
                self._stamp, self._keys = self._read()
                log.info("key set read again: %d keys", len(self._keys.keys))
        except (KeysUnusableError, OSError) as error:
            # The message is complete: a traceback would only repeat where files are read.
            log.error("new key set not usable, keeping the last one: %s", error)  # noqa: TRY400 - see above

    def _read(self) -> tuple[tuple[int, int, int], KeySet]:
        try:
            return _stamp(self._file), parse_key_set(self._file.read_bytes())
        except OSError as error:
            raise KeysUnusableError(f"Key set {self._file}: {error.strerror}") from None
        except InvalidKeySet as error:
            raise KeysUnusableError(f"Key set {self._file}: {error}") from None


def _stamp(file: Path) -> tuple[int, int, int]:
    status = file.stat()
    return status.st_mtime_ns, status.st_ino, status.st_size
