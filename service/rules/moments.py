"""Instants as people ask for them: RFC 3339, or a time on the wall clock of a zone."""

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from msgspec import Struct

from contracts.times import read_time

_WALL = re.compile(r"(?:(\d{4}-\d\d-\d\d)[T ])?(\d\d):(\d\d)")


class Moment(Struct, frozen=True):
    """An instant in UTC, to the minute.

    ``gap`` says, where the wall time asked for did not exist, that the clock had jumped over it;
    the instant is then the first one after the jump.
    """

    at: datetime
    gap: str | None = None


def read_moment(text: str, zone: ZoneInfo, now: datetime) -> Moment:
    """Read an RFC 3339 instant, ``YYYY-MM-DD HH:MM``, or ``HH:MM`` for its last time before now.

    Raises ValueError for any other text.
    """
    match = _WALL.fullmatch(text.strip())
    if match is None:
        return Moment(read_time(text.strip()).astimezone(UTC).replace(second=0, microsecond=0))
    today = now.astimezone(zone)
    day = match[1] or f"{today:%Y-%m-%d}"
    wall = datetime.strptime(f"{day} {match[2]}:{match[3]}", "%Y-%m-%d %H:%M")  # noqa: DTZ007 - of the zone
    moment = _on_clock(wall, zone)
    if match[1] is None and moment.at > now:
        moment = _on_clock(wall - timedelta(days=1), zone)
    return moment


def _on_clock(wall: datetime, zone: ZoneInfo) -> Moment:
    # Of a time that occurs twice, this is the first occurrence.
    at = wall.replace(tzinfo=zone).astimezone(UTC)
    shown = at.astimezone(zone)
    if shown.replace(tzinfo=None) == wall:
        return Moment(at)
    # In a gap the result lies behind the jump, by as much as the time asked for lies in it.
    while (at - timedelta(minutes=1)).astimezone(zone).utcoffset() == shown.utcoffset():
        at -= timedelta(minutes=1)
    return Moment(
        at,
        f"{wall:%H:%M} did not exist on {wall:%Y-%m-%d} in {zone.key}: the clock went forward to"
        f" {at.astimezone(zone):%H:%M}",
    )
