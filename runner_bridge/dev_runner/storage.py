"""A key-value store in memory, for the interface ``storage``: one area for each install.

With a journal it is kept between processes.

Revisions come from one counter, so that a key that was deleted and written again never has an
earlier revision. Everything is bounded; exceeding a bound is ``internal``.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct

from runner_bridge.dev_runner.storage_journal import StorageJournal, StoredChange

MAX_KEY_CHARACTERS = 256
MAX_VALUE_BYTES = 256 * 1024
MAX_AREA_BYTES = 4 * 1024 * 1024
MAX_AREA_ENTRIES = 1_000
MAX_AREAS = 1_000
PAGE_SIZE = 100

StorageArea = tuple[str, str]
"""Tenant and install (or extension, where a caller names no install)."""
StorageResult = dict[str, Any]
"""``{"ok": …}`` or ``{"err": "missing" | "conflict" | "denied" | "internal"}``."""


class _Entry(Struct, frozen=True):
    value: bytes
    revision: int


class MemoryStorage:
    """All areas. Not thread-safe; no method awaits."""

    def __init__(self, journal: StorageJournal | None = None) -> None:
        """Take what a journal has, and write every change into it."""
        self._areas: dict[StorageArea, dict[tuple[str, str], _Entry]] = {}
        self._revision = 0
        self._journal = journal
        if journal is not None:
            for change in journal.replay():
                self._apply(change)
            journal.compact(self._changes())

    def get(self, area: StorageArea, namespace: str, key: str) -> StorageResult:
        """Return the entry, or ``missing``."""
        entry = self._areas.get(area, {}).get((namespace, key))
        return {"err": "missing"} if entry is None else {"ok": _record(namespace, key, entry)}

    def put(self, area: StorageArea, entry: Mapping[str, Any]) -> StorageResult:
        """Write an entry and return it with its new revision.

        With a ``revision`` it must be the stored one (0: nothing may be there), else ``conflict``.
        """
        key = (entry["namespace"], entry["key"])
        entries = self._areas.get(area, {})
        current = entries.get(key)
        expected = entry["revision"]
        if expected is not None and expected != (current.revision if current else 0):
            return {"err": "conflict"}
        if not self._fits(area, key, entry["value"]):
            return {"err": "internal"}
        written = _Entry(entry["value"], self._revision + 1)
        self._change(StoredChange(area, key, written.revision, written.value))
        return {"ok": _record(*key, written)}

    def delete(self, area: StorageArea, namespace: str, key: str) -> StorageResult:
        """Remove an entry; ``missing`` where there is none."""
        if (namespace, key) not in self._areas.get(area, {}):
            return {"err": "missing"}
        self._change(StoredChange(area, (namespace, key), self._revision))
        return {"ok": None}

    def list_entries(self, area: StorageArea, namespace: str, cursor: str | None) -> StorageResult:
        """Return up to ``PAGE_SIZE`` entries in order of their keys, after the key ``cursor``."""
        keys = sorted(
            key
            for space, key in self._areas.get(area, {})
            if space == namespace and (cursor is None or key > cursor)
        )
        entries = self._areas.get(area, {})
        return {
            "ok": [_record(namespace, key, entries[namespace, key]) for key in keys[:PAGE_SIZE]]
        }

    def _change(self, change: StoredChange) -> None:
        if self._journal is not None:
            self._journal.append(change)
        self._apply(change)

    def _apply(self, change: StoredChange) -> None:
        if change.value is None:
            self._areas.get(change.area, {}).pop(change.key, None)
        else:
            entry = _Entry(change.value, change.revision)
            self._areas.setdefault(change.area, {})[change.key] = entry
        self._revision = max(self._revision, change.revision)

    def _changes(self) -> Iterator[StoredChange]:
        """Return what makes another store the same, the latest revision included."""
        for area, entries in self._areas.items():
            for key, entry in entries.items():
                yield StoredChange(area, key, entry.revision, entry.value)
        if self._revision:
            yield StoredChange(("", ""), ("", ""), self._revision)

    def _fits(self, area: StorageArea, key: tuple[str, str], value: bytes) -> bool:
        if area not in self._areas and len(self._areas) >= MAX_AREAS:
            return False
        others = {k: entry for k, entry in self._areas.get(area, {}).items() if k != key}
        size = sum(len(entry.value) for entry in others.values())
        return (
            all(len(part) <= MAX_KEY_CHARACTERS for part in key)
            and len(value) <= MAX_VALUE_BYTES
            and len(others) < MAX_AREA_ENTRIES
            and size + len(value) <= MAX_AREA_BYTES
        )


def _record(namespace: str, key: str, entry: _Entry) -> dict[str, Any]:
    return {
        "namespace": namespace,
        "key": key,
        "value": entry.value,
        "revision": entry.revision,
    }
