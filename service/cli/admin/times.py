"""Instants as people type them."""

import re
from datetime import UTC, datetime, timedelta

from contracts.times import wire_time

UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse_instant(text: str) -> str:
    """Convert an age such as ``12h`` to an instant; return any other text for the service."""
    age = re.fullmatch(r"([0-9]{1,6})([mhdw])", text)
    if age is None:
        return text
    try:
        return wire_time(datetime.now(UTC) - timedelta(**{UNITS[age[2]]: int(age[1])}))
    except OverflowError:
        return wire_time(datetime(1970, 1, 1, tzinfo=UTC))
