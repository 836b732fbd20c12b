"""The key-value store that guests get: revisions, isolation, bounds."""

from pathlib import Path
from typing import Any

import pytest

from runner_bridge.dev_runner import storage
from runner_bridge.dev_runner.storage import MemoryStorage, StorageArea
from runner_bridge.dev_runner.storage_journal import StorageJournal

A: StorageArea = ("tenant-a", "install-1")


def entry(key: str = "k", value: bytes = b"v", revision: int | None = None) -> dict[str, Any]:
    return {"namespace": "n", "key": key, "value": value, "revision": revision}


@pytest.fixture
def store() -> MemoryStorage:
    return MemoryStorage()


def test_an_entry_is_read_back_as_written(store: MemoryStorage) -> None:
    written = store.put(A, entry())
    assert written == {"ok": entry(revision=written["ok"]["revision"])}
    assert store.get(A, "n", "k") == written
    assert store.get(A, "other", "k") == {"err": "missing"}


def test_put_without_a_revision_overwrites(store: MemoryStorage) -> None:
    first = store.put(A, entry())["ok"]["revision"]
    second = store.put(A, entry(value=b"w"))["ok"]["revision"]
    assert second > first
    assert store.get(A, "n", "k")["ok"]["value"] == b"w"


def test_put_over_another_revision_is_a_conflict(store: MemoryStorage) -> None:
    revision = store.put(A, entry(revision=0))["ok"]["revision"]
    assert store.put(A, entry(value=b"w", revision=revision + 1)) == {"err": "conflict"}
    assert store.put(A, entry(value=b"w", revision=0)) == {"err": "conflict"}
    assert store.get(A, "n", "k")["ok"]["value"] == b"v"
    assert "ok" in store.put(A, entry(value=b"w", revision=revision))
    assert store.put(A, entry(value=b"x", revision=revision)) == {"err": "conflict"}


def test_a_revision_is_never_used_again(store: MemoryStorage) -> None:
    revision = store.put(A, entry())["ok"]["revision"]
    assert store.put(A, entry("absent", revision=1)) == {"err": "conflict"}
    store.delete(A, "n", "k")
    store.put(A, entry())
    assert store.put(A, entry(value=b"late", revision=revision)) == {"err": "conflict"}


def test_delete_removes_once(store: MemoryStorage) -> None:
    store.put(A, entry())
    assert store.delete(A, "n", "k") == {"ok": None}
    assert store.delete(A, "n", "k") == {"err": "missing"}


def test_entries_are_listed_in_pages(store: MemoryStorage) -> None:
    keys = [f"k{number:03}" for number in range(2 * storage.PAGE_SIZE + 1)]
    for key in reversed(keys):
        store.put(A, entry(key))
    seen: list[str] = []
    while page := store.list_entries(A, "n", seen[-1] if seen else None)["ok"]:
        assert len(page) <= storage.PAGE_SIZE
        seen += [found["key"] for found in page]
    assert seen == keys
    assert store.list_entries(A, "other", None) == {"ok": []}


@pytest.mark.parametrize("other", [("tenant-b", "install-1"), ("tenant-a", "install-2")])
def test_areas_do_not_see_each_other(store: MemoryStorage, other: StorageArea) -> None:
    store.put(A, entry())
    assert store.get(other, "n", "k") == {"err": "missing"}
    assert store.delete(other, "n", "k") == {"err": "missing"}
    assert store.list_entries(other, "n", None) == {"ok": []}


@pytest.mark.parametrize(
    "too_much",
    [
        entry(key="k" * (storage.MAX_KEY_CHARACTERS + 1)),
        entry(value=b"v" * (storage.MAX_VALUE_BYTES + 1)),
    ],
    ids=["key", "value"],
)
def test_too_large_an_entry_is_refused(store: MemoryStorage, too_much: dict[str, Any]) -> None:
    assert store.put(A, too_much) == {"err": "internal"}
    assert store.get(A, "n", too_much["key"]) == {"err": "missing"}


def test_an_area_is_bounded(store: MemoryStorage) -> None:
    whole = storage.MAX_AREA_BYTES // storage.MAX_VALUE_BYTES
    for number in range(whole):
        assert "ok" in store.put(A, entry(str(number), b"v" * storage.MAX_VALUE_BYTES))
    assert store.put(A, entry("more")) == {"err": "internal"}
    assert "ok" in store.put(A, entry("0", b"smaller"))
    assert "ok" in store.put(A, entry("more"))


def test_entries_and_areas_are_bounded(store: MemoryStorage) -> None:
    for number in range(storage.MAX_AREA_ENTRIES):
        store.put(A, entry(str(number)))
    assert store.put(A, entry("more")) == {"err": "internal"}
    for number in range(storage.MAX_AREAS - 1):
        assert "ok" in store.put(("tenant", str(number)), entry())
    assert store.put(("tenant", "more"), entry()) == {"err": "internal"}


def kept(file: Path) -> MemoryStorage:
    return MemoryStorage(StorageJournal(file))


def test_a_journal_keeps_entries_and_revisions(tmp_path: Path) -> None:
    file = tmp_path / "storage.jsonl"
    store = kept(file)
    store.put(A, entry("a"))
    written = store.put(A, entry("a", b"\x00\xff"))
    store.put(A, entry("b"))
    last = store.put(A, entry("c"))["ok"]["revision"]
    store.delete(A, "n", "b")
    store.delete(A, "n", "c")
    for _ in range(2):  # what was compacted is as what was written
        store = kept(file)
        assert store.get(A, "n", "a") == written
        assert store.get(A, "n", "b") == {"err": "missing"}
    assert store.put(A, entry("c"))["ok"]["revision"] > last


def test_a_change_that_a_killed_process_did_not_finish_is_dropped(tmp_path: Path) -> None:
    file = tmp_path / "storage.jsonl"
    store = kept(file)
    written = store.put(A, entry("a"))
    store.put(A, entry("a", b"w"))
    file.write_bytes(file.read_bytes()[:-1])
    store = kept(file)
    assert store.get(A, "n", "a") == written
    again = store.put(A, entry("a", b"x"))
    assert kept(file).get(A, "n", "a") == again


def test_what_is_refused_is_not_kept(tmp_path: Path) -> None:
    file = tmp_path / "storage.jsonl"
    store = kept(file)
    assert store.put(A, entry(revision=7)) == {"err": "conflict"}
    assert store.delete(A, "n", "k") == {"err": "missing"}
    assert kept(file).list_entries(A, "n", None) == {"ok": []}
