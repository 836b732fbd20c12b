"""Instants on the wire: RFC 3339 in UTC with milliseconds and ``Z``."""

from datetime import UTC, datetime
from typing import Annotated

import msgspec

_LENGTH = len("2026-03-29T01:30:00.000")

Instant = Annotated[datetime, msgspec.Meta(tz=True)]


def wire_time(instant: datetime) -> str:
    """Write an instant as ``2026-03-29T01:30:00.000Z``; one without a zone is taken as UTC."""
    if instant.tzinfo is not None and instant.tzinfo is not UTC:
        instant = instant.astimezone(UTC)
    return f"{instant.isoformat(timespec='milliseconds')[:_LENGTH]}Z"


def read_time(text: str) -> datetime:
    """Read an RFC 3339 instant of any precision and offset, as UTC.

    Raises:
        ValueError: not RFC 3339, without an offset, or outside the years 1 to 9999.
    """
    try:
        instant: datetime = msgspec.convert(text, Instant)
        return instant.astimezone(UTC)
    except (msgspec.ValidationError, OverflowError):
        raise ValueError("not an RFC 3339 instant") from None
