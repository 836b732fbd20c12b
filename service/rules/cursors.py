"""Cursors: the key of a page's last row, opaque to clients."""

from typing import Any, TypeVar

import msgspec

from contracts import base64url

T = TypeVar("T")

MAX_PAGE_CHARACTERS = 400_000
"""The most text in one page: a reply must stay well below the message size of the bus."""


def write(*key: Any) -> str:  # noqa: ANN401 - the columns that rows are ordered by
    """Write the key of a page's last row."""
    return base64url.encode(msgspec.json.encode(key)).decode()


def read(cursor: str, key_type: type[T]) -> T | None:
    """Read a key of a tuple type, None for a text that ``write`` has not made of one."""
    try:
        key = base64url.decode(cursor.encode())
        return None if b"\\u0000" in key else msgspec.json.decode(key, type=key_type)
    except (ValueError, msgspec.MsgspecError):
        return None


def fitting(sizes: list[int], limit: int, budget: int = MAX_PAGE_CHARACTERS) -> int:
    """Return the number of rows, of these sizes in characters, in the page: at least one."""
    total = 0
    for index, size in enumerate(sizes):
        total += size
        if index == limit or (index and total > budget):
            return index
    return len(sizes)
