"""Text that PostgreSQL and every encoding can store, and text that is safe to print."""

import re

_CONTROL = re.compile(
    # C0, DEL and C1; line separators; what changes the direction of text; a stray byte order mark.
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]"
)
_SHORT_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_SURROGATE = re.compile("[\ud800-\udfff]")


def is_storable(text: str) -> bool:
    """Return whether there is no NUL (refused by PostgreSQL) and no lone surrogate (not UTF-8)."""
    return "\0" not in text and (text.isascii() or _SURROGATE.search(text) is None)


def escape_controls(text: str, *, keep_lines: bool = False) -> str:
    """Return the text with visible escapes for what would control a terminal or forge a line.

    Texts come from tenants, guests and other services. The escapes are those of JSON, so a JSON
    document stays one and keeps its meaning. ``keep_lines`` is for text of several lines.
    """
    if text.isascii() and text.isprintable():
        return text
    return _CONTROL.sub(lambda match: _escape(match[0], keep_lines=keep_lines), text)


def _escape(character: str, *, keep_lines: bool) -> str:
    if keep_lines and character == "\n":
        return character
    return _SHORT_ESCAPES.get(character) or f"\\u{ord(character):04x}"
