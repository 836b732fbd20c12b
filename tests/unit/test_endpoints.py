"""Manifests, selectors, and which endpoint a schedule may call."""

import json
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.rules.endpoints import (
    EndpointManifest,
    Selector,
    choose,
    is_entry,
    normal_path,
    parse_selector,
    read_manifest,
    schedulable,
)

GET, POST, PUT = (UUID(int=n) for n in (1, 2, 3))
NOTHING = EndpointManifest()


def manifest(*entries: object) -> EndpointManifest:
    return read_manifest(json.dumps(list(entries)))


@pytest.mark.parametrize(
    ("text", "method", "path"),
    [
        ("/a", None, "/a"),
        ("a/b", None, "/a/b"),
        ("  //a///b/ ", None, "/a/b/"),
        ("/", None, "/"),
        ("GET /a", "GET", "/a"),
        ("post /a", "POST", "/a"),
        ("  Post \t  //a//b  ", "POST", "/a/b"),
        ("get a", "GET", "/a"),
        ("PUT /a", "PUT", "/a"),
        ("BREW /tea", "BREW", "/tea"),
        ("GET", None, "/GET"),
        ("my page", None, "/my page"),
        ("/a b", None, "/a b"),
        ("/GET /a", None, "/GET /a"),
    ],
)
def test_selectors_are_normalised(text: str, method: str | None, path: str) -> None:
    assert parse_selector(text) == Selector(path=path, method=method)


@pytest.mark.parametrize("text", ["", " ", "\n", "/" * 257, "/a\0", "/\ud800", "GET /\udfff"])
def test_text_that_cannot_be_a_selector_is_none(text: str) -> None:
    assert parse_selector(text) is None


def test_a_selector_may_have_256_characters() -> None:
    assert parse_selector("/" + "ä" * 255) is not None
    assert parse_selector("/abc", max_length=3) is None


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "null",
        "{}",
        "[]",
        "17",
        '"words"',
        "{broken",
        '{"endpoints": []}',
        "[" * 5_000,
        '"[1"',
        "[1e999]",
    ],
)
def test_a_manifest_that_is_no_list_of_entries_has_none(text: str | None) -> None:
    read = read_manifest(text)
    assert read.entries == ()
    assert read.withheld == frozenset()


def test_well_formed_entries_are_normalised() -> None:
    read = manifest(
        {"method": " get ", "path": "api//status/ ", "handler": "status"},
        {"method": "Delete", "path": "/x/:id", "handler": "remove", "schedulable": True},
    )
    assert read.entries == (
        ("GET", "/api/status/", "status"),
        ("DELETE", "/x/:id", "remove"),
    )
    assert read.malformed == 0


def test_a_list_inside_a_json_string_is_read() -> None:
    entries = json.dumps([{"method": "GET", "path": "/a", "handler": "h"}])
    assert read_manifest(json.dumps(entries)).entries == (("GET", "/a", "h"),)


@pytest.mark.parametrize(
    "entry",
    [
        None,
        17,
        "GET /a",
        [],
        {},
        {"method": "GET", "handler": "h"},
        {"path": "/a", "handler": "h"},
        {"method": "GET", "path": "/a"},
        {"method": "GET", "path": "/a", "handler": None},
        {"method": "GET", "path": "/a", "handler": ""},
        {"method": "GET", "path": 5, "handler": "h"},
        {"method": "GET", "path": "  ", "handler": "h"},
        {"method": "GET", "path": "/a\0", "handler": "h"},
        {"method": "GET", "path": "/" + "a" * 2_000, "handler": "h"},
        {"method": "GET", "path": "/a", "handler": "h\0"},
        {"method": ["GET"], "path": "/a", "handler": "h"},
        {"method": "G T", "path": "/a", "handler": "h"},
        {"method": "", "path": "/a", "handler": "h"},
        {"method": "A" * 17, "path": "/a", "handler": "h"},
        {"method": "\u017f", "path": "/a", "handler": "h"},
    ],
)
def test_malformed_entries_are_skipped_and_counted(entry: object) -> None:
    good = {"method": "POST", "path": "/good", "handler": "h"}
    read = manifest(entry, good, entry)
    assert read.entries == (("POST", "/good", "h"),)
    assert read.malformed == 2


def test_no_manifest_is_not_a_malformed_one() -> None:
    assert read_manifest(None) == EndpointManifest(malformed=0)
    assert read_manifest("{broken") == EndpointManifest(malformed=1)


@pytest.mark.parametrize(
    ("path", "handler", "kept"),
    [
        ("/" + "a" * 1_999, "h", True),
        ("/" + "a" * 2_000, "h", False),
        ("/" + "\u00e4" * 1_000, "h", False),
        ("/a", " ", False),
        ("/a", "h\0", False),
    ],
)
def test_an_entry_is_one_that_a_manifest_keeps(path: str, handler: str, kept: bool) -> None:
    assert is_entry("GET", path, handler) is kept
    read = manifest({"method": "GET", "path": path, "handler": handler})
    assert len(read.entries) == (1 if kept else 0)


def test_the_last_of_duplicates_wins() -> None:
    read = manifest(
        {"method": "GET", "path": "/a", "handler": "first", "schedulable": False},
        {"method": "get", "path": "a", "handler": "second"},
        {"method": "GET", "path": "//a", "handler": ""},
    )
    assert read.entries == (("GET", "/a", "second"),)
    assert schedulable("GET", "/a", read)


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/a", True),
        ("post", "a", True),
        ("PUT", "/a", False),
        ("DELETE", "/a", False),
        ("GET", "/a/:id", False),
        ("GET", "/a/{id}", False),
        ("GET", "/a}", False),
        ("GET", "/a:b", False),
        ("GET", "/off", False),
        ("POST", "/off", True),
        ("GET", "/odd", True),
        ("GET", "/handlerless", False),
        ("GET", "/undeclared", True),
    ],
)
def test_schedulable_is_true_unless_the_manifest_denies_it(
    method: str, path: str, expected: bool
) -> None:
    read = manifest(
        {"method": "GET", "path": "/off", "handler": "h", "schedulable": False},
        {"method": "GET", "path": "/odd", "handler": "h", "schedulable": "false"},
        {"method": "GET", "path": "/handlerless", "schedulable": False},
    )
    assert schedulable(method, path, read) is expected


@pytest.mark.parametrize(
    ("method", "declared", "has_payload", "expected"),
    [
        (None, [GET, POST], True, POST),
        (None, [GET, POST], False, GET),
        (None, [GET], True, GET),
        (None, [POST], False, POST),
        (None, [PUT], False, None),
        (None, [], False, None),
        ("GET", [GET, POST], True, GET),
        ("POST", [GET, POST], False, POST),
        ("POST", [GET], True, None),
        ("PUT", [GET, POST, PUT], False, None),
    ],
)
def test_selectors_resolve_to_one_endpoint_or_none(
    method: str | None, declared: list[UUID], has_payload: bool, expected: UUID | None
) -> None:
    names = {GET: "GET", POST: "post ", PUT: "PUT"}
    candidates = [(id_, names[id_]) for id_ in declared]
    selector = Selector(path="/a", method=method)
    assert choose(selector, candidates, NOTHING, has_payload=has_payload) == expected


def test_an_endpoint_withheld_by_the_manifest_is_neither_resolved_nor_replaced() -> None:
    read = manifest({"method": "POST", "path": "/a", "handler": "h", "schedulable": False})
    both = [(GET, "GET"), (POST, "POST")]
    bare = Selector(path="/a")
    assert choose(bare, both, read, has_payload=True) is None
    assert choose(bare, both, read, has_payload=False) == GET
    assert choose(Selector(path="/a/:id"), both, read, has_payload=False) is None


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.text(max_size=30))
def test_normalising_twice_changes_nothing(path: str) -> None:
    once = normal_path(path)
    assert normal_path(once) == once
    assert once.startswith("/")
    assert "//" not in once


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.text(max_size=60))
def test_no_text_makes_a_selector_or_manifest_crash(text: str) -> None:
    parse_selector(text)
    read_manifest(text)
    read_manifest(json.dumps([{"method": text, "path": text, "handler": text}]))
