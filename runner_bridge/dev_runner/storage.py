"""A key-value store in memory, for the interface ``storage``: one area for each install.

Revisions come from one counter, so that a key that was deleted and written again never has an
earlier revision. Everything is bounded; exceeding a bound is ``internal``.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

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

    def __init__(self) -> None:
        self._areas: dict[StorageArea, dict[tuple[str, str], _Entry]] = {}
        self._revision = 0

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
        self._revision += 1
        written = _Entry(entry["value"], self._revision)
        self._areas.setdefault(area, entries)[key] = written
        return {"ok": _record(*key, written)}

    def delete(self, area: StorageArea, namespace: str, key: str) -> StorageResult:
        """Remove an entry; ``missing`` where there is none."""
        removed = self._areas.get(area, {}).pop((namespace, key), None)
        return {"err": "missing"} if removed is None else {"ok": None}

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
