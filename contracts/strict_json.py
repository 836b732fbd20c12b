"""JSON as tokens and key sets must be written: one object, each member once, plain text."""

import codecs
import json
from typing import Any


def read_object(document: bytes) -> dict[str, Any]:
    """Read a JSON object in UTF-8.

    Two readers of one document must never see different things, so a member that appears twice is
    refused, at any depth; so are NaN, infinities, NULs and lone surrogates.

    Raises:
        ValueError: anything else than such an object.
    """
    text = document.decode()
    try:
        value = _DECODER.decode(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError("not an object")  # noqa: TRY004 - the fault is in the document
    if "\\u" in text:
        _refuse_unstorable(value)
    return value


def strip_bom(document: bytes) -> bytes:
    """Return a document that a person wrote without the byte order mark that an editor put there.

    JSON on the wire must not have one.
    """
    return document.removeprefix(codecs.BOM_UTF8)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member appears twice")
    return members


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _refuse_unstorable(value: dict[str, Any]) -> None:
    # Only an escape can smuggle these in, so the walk is for documents with escapes alone.
    written = json.dumps(value, ensure_ascii=False)
    if "\\u0000" in written:
        raise ValueError("a text contains NUL")
    written.encode()


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)
