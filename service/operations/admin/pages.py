"""Pages of rows: which fit into one reply, where the next begins, and the errors of its fields."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from contracts.times import Instant, read_time
from service.rules import admin_fields, cursors

BY_ID, BY_TIME = tuple[str, UUID], tuple[Instant, UUID]
BY_TENANT, BY_RUN = tuple[str], tuple[Instant, str, UUID]
"""Keys of cursors."""

DEFAULT_LIMIT = 50
Row = TypeVar("Row")


def fit_page(
    rows: Sequence[Row], limit: int, size: Callable[[Row], int]
) -> tuple[Sequence[Row], bool]:
    """Return the rows that fit into one page, and whether there are more."""
    count = cursors.fitting([size(row) for row in rows], limit)
    return rows[:count], count < len(rows)


def id_range(prefix: str | None) -> tuple[UUID, UUID] | None:
    """Return the lowest and highest id that begin with a prefix, None without one."""
    if prefix is None:
        return None
    digits = prefix.replace("-", "")[:32]
    return UUID(digits.ljust(32, "0")), UUID(digits.ljust(32, "f"))


def read_cursor(text: str | None, key_type: type[Row]) -> Row | None:
    """Return the key that a cursor holds, None without one."""
    return None if text is None else cursors.read(text, key_type)


def cursor_errors(values: Mapping[str, Any], key_type: type[Any]) -> dict[str, str]:
    """Return the field error of a cursor that holds no key of this type."""
    text = values.get("cursor")
    key = None if text is None else cursors.read(text, key_type)
    return {} if text is None or key is not None else {"cursor": admin_fields.invalid("cursor")}


def read_instant(text: str | None) -> datetime | None:
    """Return an instant, None without one. Raises ValueError."""
    return None if text is None else read_time(text)


def time_errors(values: Mapping[str, Any], *names: str) -> dict[str, str]:
    """Return the field errors of the members that are not RFC 3339 instants."""
    errors = {}
    for name in names:
        try:
            read_instant(values.get(name))
        except ValueError:
            errors[name] = admin_fields.invalid(name)
    return errors
