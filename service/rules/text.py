"""Text that PostgreSQL and every encoding can hold."""

import re

_SURROGATE = re.compile("[\ud800-\udfff]")


def is_storable(text: str) -> bool:
    """Return whether there is no NUL (refused by PostgreSQL) and no lone surrogate (not UTF-8)."""
    return "\0" not in text and (text.isascii() or _SURROGATE.search(text) is None)
