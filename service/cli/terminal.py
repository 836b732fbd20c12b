"""Tables on a terminal: within its width, and in colour unless NO_COLOR is set."""

import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
SHORT_ID = 8
"""Characters of an id that are shown; commands take the beginning of one."""
GAP = 2
NARROWEST = 14
"""A text column is not made narrower than this; before, columns are left out."""
STYLES: Mapping[str, str] = {
    "success": "green",
    "ok": "green",
    "error": "red",
    "wrong": "red",
    "running": "cyan",
    "skipped": "yellow",
    "skipped_overlap": "yellow",
}
CODES: Mapping[str, int] = {"red": 31, "green": 32, "yellow": 33, "cyan": 36}
HOLD_COLUMNS = frozenset({"HELD BY", "PAUSED SINCE", "DRIVEN BY"})
NOTHING = frozenset({"-", "scheduler", ""})


def is_terminal() -> bool:
    """Return whether standard output is a terminal."""
    return sys.stdout.isatty()


def has_colour() -> bool:
    """Return whether to colour: on a terminal that can, unless NO_COLOR forbids it."""
    return is_terminal() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def coloured(text: str, style: str) -> str:
    """Return the text in a style where there is one, and colour; else unchanged."""
    return f"\x1b[{CODES[style]}m{text}\x1b[0m" if style and has_colour() else text


def short_id(text: str) -> str:
    """Return the beginning of an id, any other text unchanged."""
    return text[:SHORT_ID] if UUID.fullmatch(text) else text


def print_fitted(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Print a table that fits the terminal; return the headings that it has no room for.

    Long cells go on in the next line, and the last columns are left out where even that is too
    much. Cells have no control characters.
    """
    from rich.console import Console  # noqa: PLC0415 - not for the help
    from rich.table import Table  # noqa: PLC0415 - likewise
    from rich.text import Text  # noqa: PLC0415 - likewise

    size = shutil.get_terminal_size()
    console = Console(
        file=sys.stdout,
        highlight=False,
        color_system="auto" if has_colour() else None,
        width=size.columns,
        height=size.lines,  # with both given, rich does not take a dumb terminal for a narrow one
    )
    shown = columns_that_fit(headings, rows, console.width)
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
    for index in shown:
        table.add_column(Text(headings[index]), overflow="fold")
    for row in rows:
        table.add_row(*(Text(row[at], style=_style(headings[at], row[at])) for at in shown))
    console.print(table)
    return [headings[index] for index in range(len(headings)) if index not in shown]


def columns_that_fit(
    headings: Sequence[str], rows: Sequence[Sequence[str]], width: int
) -> list[int]:
    """Return the columns to show, from the first; at least one."""
    room, shown = width, list[int]()
    for index, text in enumerate(headings):
        longest = max((len(row[index]) for row in rows), default=0)
        needed = max(min(longest, NARROWEST), *map(len, text.split() or [""]), 0) + GAP
        room -= needed
        if room < -GAP and shown:
            break
        shown.append(index)
    return shown


def _style(column: str, text: str) -> str:
    if column in HOLD_COLUMNS and text not in NOTHING:
        return "yellow"
    return STYLES.get(text, "")
