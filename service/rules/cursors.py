"""Cursors: where a page ended, opaque to whoever carries it to the next one."""

from typing import Any, TypeVar

import msgspec

from contracts import base64url

T = TypeVar("T")

MAX_PAGE_CHARACTERS = 400_000
"""Of the texts in one page: a reply must stay well below what the bus carries."""


def write(*key: Any) -> str:  # noqa: ANN401 -- whatever rows are ordered by
    """Write the key of a page's last row."""
    return base64url.encode(msgspec.json.encode(key)).decode()


def read(cursor: str, shape: type[T]) -> T | None:
    """Read a key of this shape (a tuple type), None where ``write`` made no such thing."""
    try:
        key = base64url.decode(cursor.encode())
        return None if b"\\u0000" in key else msgspec.json.decode(key, type=shape)
    except (ValueError, msgspec.MsgspecError):
        return None


def fitting(sizes: list[int], limit: int, budget: int = MAX_PAGE_CHARACTERS) -> int:
    """How many of the rows, of these sizes in characters, make the page: at least one of them."""
    total = 0
    for number, size in enumerate(sizes):
        total += size
        if number == limit or (number and total > budget):
            return number
    return len(sizes)
