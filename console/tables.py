"""Tables as files: CSV and JSON of the rows that a page shows."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

FORMATS = ("csv", "json")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet would compute a cell that begins with one of these."""

TableColumns = Mapping[str, Callable[[Any], object]]
"""The value of a row by the name of its column."""


def write_csv(columns: TableColumns, rows: Sequence[Any]) -> str:
    """Return rows as CSV with a header line; texts that a spreadsheet would compute are quoted."""
    output = io.StringIO()
    writer = csv.writer(output)
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(read(row)) for read in columns.values()])
    return output.getvalue()


def write_json(columns: TableColumns, rows: Sequence[Any], next_url: str | None) -> bytes:
    """Return rows as a JSON document, with the address of the next page."""
    shown = [{name: read(row) for name, read in columns.items()} for row in rows]
    return msgspec.json.encode({"rows": shown, "next": next_url})


def attributes(*names: str) -> TableColumns:
    """Return columns that are a row's attributes, under their names on the wire."""
    return {_camel(name): _attribute(name) for name in names}


def _attribute(name: str) -> Callable[[Any], object]:
    return lambda row: getattr(row, name)


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(other.title() for other in others)


def _cell(value: object) -> object:
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return "" if value is None else value
