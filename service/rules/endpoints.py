"""Endpoints: the normal form of methods and paths, manifests, selectors, and schedulability."""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any
from uuid import UUID

from msgspec import Struct

from service.rules.columns import read_list
from service.rules.text import is_storable

NOT_SCHEDULABLE = "Endpoint not found or not schedulable"

_METHOD = re.compile(r"[A-Za-z]{1,16}")
_WITH_METHOD = re.compile(r"([A-Za-z]{1,16})\s+(\S.*)", re.DOTALL)
_CALLABLE = frozenset({"GET", "POST"})
# Bytes. The unique index on (version, method, path) refuses rows beyond a third of a page.
_LONGEST_PATH = 2_000


class Selector(Struct, frozen=True):
    """The endpoint that a schedule names, normalised; ``method`` is None for a bare path."""

    path: str
    method: str | None = None


class EndpointManifest(Struct, frozen=True):
    """A version's manifest list, read as far as it can be.

    ``entries`` are (method, path, handler), one for each (method, path); ``withheld`` are the
    (method, path) with ``schedulable: false``; ``malformed`` counts what was skipped.
    """

    entries: tuple[tuple[str, str, str], ...] = ()
    withheld: frozenset[tuple[str, str]] = frozenset()
    malformed: int = 0


def normal_method(method: str) -> str:
    """Return a method trimmed and upper-cased."""
    return method.strip().upper()


def normal_path(path: str) -> str:
    """Return a path trimmed, with a leading slash, and runs of slashes as one."""
    return re.sub(r"/+", "/", "/" + path.strip())


def parse_selector(text: str, *, max_length: int = 256) -> Selector | None:
    """Parse ``/path`` or ``METHOD /path``; None for a text that cannot select an endpoint."""
    if not 1 <= len(text) <= max_length or not text.strip() or not is_storable(text):
        return None
    match = _WITH_METHOD.fullmatch(text.strip())
    if match and (match[2].startswith("/") or match[1].upper() in _CALLABLE):
        return Selector(path=normal_path(match[2]), method=normal_method(match[1]))
    return Selector(path=normal_path(text))


@lru_cache(maxsize=256)
def read_manifest(text: str | None) -> EndpointManifest:
    """Parse an ``api_endpoints`` column (JSON text), which may be malformed.

    Malformed entries are skipped, the last of duplicates wins.
    """
    listed = read_list(text)
    if listed is None:
        return EndpointManifest(malformed=int(text is not None))
    handlers: dict[tuple[str, str], str] = {}
    flags: dict[tuple[str, str], bool] = {}
    malformed = 0
    for entry in listed:
        key, handler = _read_entry(entry)
        if key is not None:
            flags[key] = entry.get("schedulable") is not False
        if key is None or handler is None:
            malformed += 1
        else:
            handlers[key] = handler
    return EndpointManifest(
        entries=tuple((*key, handler) for key, handler in handlers.items()),
        withheld=frozenset(key for key, schedulable in flags.items() if not schedulable),
        malformed=malformed,
    )


def schedulable(method: str, path: str, manifest: EndpointManifest) -> bool:
    """Return whether it is GET or POST, without path parameter, and not withheld."""
    method, path = normal_method(method), normal_path(path)
    if method not in _CALLABLE or re.search("[:{}]", path):
        return False
    return (method, path) not in manifest.withheld


def choose(
    selector: Selector,
    candidates: Iterable[tuple[UUID, str]],
    manifest: EndpointManifest,
    *,
    has_payload: bool,
) -> UUID | None:
    """Resolve a selector among the (id, method) declared at its path; None if not schedulable.

    A bare path stands for GET or POST. Where both are declared, POST with a payload, else GET: the
    choice comes before the check that it is schedulable, so it never depends on the manifest.
    """
    by_method = {normal_method(method): id_ for id_, method in candidates}
    method = selector.method
    if method is None:
        preferred, other = ("POST", "GET") if has_payload else ("GET", "POST")
        method = preferred if preferred in by_method else other
    return by_method.get(method) if schedulable(method, selector.path, manifest) else None


def is_entry(method: str, path: str, handler: str) -> bool:
    """Return whether ``read_manifest`` keeps an entry that is made of these."""
    _, usable = _read_entry({"method": method, "path": path, "handler": handler})
    return usable is not None


def _read_entry(entry: Any) -> tuple[tuple[str, str] | None, str | None]:  # noqa: ANN401 - raw
    """Return the (method, path) and the handler of a manifest entry, None where malformed."""
    if not isinstance(entry, dict):
        return None, None
    method, path, handler = (entry.get(name) for name in ("method", "path", "handler"))
    if not (isinstance(method, str) and _METHOD.fullmatch(method.strip())):
        return None, None
    if not (isinstance(path, str) and path.strip() and is_storable(path)):
        return None, None
    if len(path.encode()) > _LONGEST_PATH:
        return None, None
    usable = isinstance(handler, str) and handler.strip() and is_storable(handler)
    return (normal_method(method), normal_path(path)), handler if usable else None
