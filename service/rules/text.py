"""Text that PostgreSQL and every encoding can hold."""

import re

_SURROGATE = re.compile("[\ud800-\udfff]")


def is_storable(text: str) -> bool:
    """No NUL (which PostgreSQL refuses) and no lone surrogate (which UTF-8 cannot carry)."""
    return "\0" not in text and (text.isascii() or _SURROGATE.search(text) is None)
