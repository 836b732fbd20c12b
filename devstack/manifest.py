"""Reads the manifest of an extension from its directory."""

from collections import Counter
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, structs

from contracts.admin_installs import Manifest, ManifestApi, ManifestEndpoint
from contracts.strict_json import strip_bom
from devstack.errors import StackError
from service.rules.endpoints import normal_method, normal_path

MANIFEST = "manifest.json"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def read_manifest(source: Path) -> Manifest:
    """Return the manifest of an extension. Raises StackError."""
    if not source.exists():
        raise StackError(f"{source} does not exist")
    file = directory_of(source) / MANIFEST
    try:
        return msgspec.json.decode(strip_bom(file.read_bytes()), type=Manifest)
    except OSError as error:
        raise StackError(f"{file}: {error.strerror}") from None
    except msgspec.ValidationError as error:
        raise StackError(f"{file}: {error}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise StackError(f"{file}: not JSON: {error}") from None


def manifest_hints(source: Path) -> list[str]:
    """Return what in a valid manifest is probably a mistake, in a sentence each."""
    file = directory_of(source) / MANIFEST
    document = msgspec.json.decode(strip_bom(file.read_bytes()))
    return [f"{MANIFEST}: {hint}" for hint in _hints(document)]


def _hints(document: Mapping[str, Any]) -> Iterator[str]:
    yield from _misspelt(document, Manifest, "")
    api = document.get("api", {})
    yield from _misspelt(api, ManifestApi, "api.")
    endpoints = api.get("endpoints", [])
    for index, endpoint in enumerate(endpoints):
        yield from _misspelt(endpoint, ManifestEndpoint, f"api.endpoints[{index}].")
        method = normal_method(endpoint["method"])
        if method not in METHODS:
            yield f"api.endpoints[{index}].method: {method} is no method of HTTP"
    named = Counter((normal_method(e["method"]), normal_path(e["path"])) for e in endpoints)
    for (method, path), times in named.items():
        if times > 1:
            yield f"{method} {path} is listed {times} times; the last one counts"


def _misspelt(members: Mapping[str, Any], expected: type[Struct], place: str) -> Iterator[str]:
    """Return the members that are ignored, but look like one that is missing."""
    known = {field.encode_name for field in structs.fields(expected)}
    for name in sorted(members.keys() - known):
        if close := get_close_matches(name, known - members.keys(), n=1, cutoff=0.8):
            yield f"{place}{name} is ignored; is it meant to be {close[0]}?"


def directory_of(source: Path) -> Path:
    """Return the directory that holds the manifest."""
    return source if source.is_dir() else source.parent
