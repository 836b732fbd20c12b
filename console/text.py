"""Texts of extensions and tenants for people: nothing hidden, nothing reordered, nothing too long.

The templates escape everything; here characters that show as nothing, or that reorder what follows
them, become their code points.
"""

import unicodedata

from markupsafe import Markup, escape

SHORT_LENGTH = 80
INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories: control and format characters (the bidirectional ones too), surrogates."""


def visible(text: str) -> str:
    """Return the text with invisible characters as ``⟨U+202E⟩``."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_visible, text))


def visible_lines(text: str) -> str:
    """Return the text with invisible characters shown, line breaks and tabs left as they are."""
    return "".join(character if character in "\n\t" else _visible(character) for character in text)


def finalize(value: object) -> object:
    """Make what a template prints visible: called for the value of every expression."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return "" if value is None else value
    return visible(value)


def cut(text: str | None, length: int = SHORT_LENGTH) -> Markup:
    """Return the text, isolated from its surroundings; a long one cut, the whole on demand.

    Nothing is no element either, so that a style can leave out its cell.
    """
    shown = visible(text or "")
    if not shown:
        return Markup()
    if len(shown) <= length:
        return Markup("<bdi>{}</bdi>").format(shown)
    return Markup(
        '<details class="cut"><summary><bdi>{}…</bdi></summary><bdi>{}</bdi></details>'
    ).format(shown[:length], shown)


def short(text: str | None, length: int = SHORT_LENGTH) -> Markup:
    """Return the beginning of a text, isolated: for links, which lead to the whole."""
    shown = visible(text or "")
    if len(shown) <= length:
        return Markup("<bdi>{}</bdi>").format(shown)
    return Markup("<bdi>{}…</bdi>").format(shown[:length])


def counted(count: int, noun: str) -> str:
    """Return a number of things: ``1 slot``, ``2 slots``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def block(text: str | None) -> Markup:
    """Return a text of several lines, for ``<pre>``."""
    return escape(visible_lines(text or ""))


def _visible(character: str) -> str:
    if unicodedata.category(character) in INVISIBLE:
        return f"⟨U+{ord(character):04X}⟩"
    return character
