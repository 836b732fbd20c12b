"""How instants are shown to people: in which zone, and how far from now."""

import re
from datetime import UTC, datetime, tzinfo

from msgspec import Struct

from service.cli.errors import EXIT_USAGE, CommandError
from service.rules.zones import load

WIRE_TIME = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.\d+)?Z")


class TimeDisplay(Struct, frozen=True):
    """The zone in which tables show instants; None is the zone of this machine."""

    zone: tzinfo | None = UTC

    def exact(self, instant: str) -> str:
        """Return an instant of the wire to the second, with its zone where that is not UTC."""
        if self.zone is UTC:
            return instant[:19].replace("T", " ")
        at = _parse(instant).astimezone(self.zone)
        return f"{at:%Y-%m-%d %H:%M:%S %Z}".removesuffix(" UTC")

    def short(self, instant: str) -> str:
        """Return the time of an instant and how far from now it is; the date if it is not today."""
        at = _parse(instant).astimezone(self.zone)
        today = datetime.now(UTC).astimezone(self.zone).date()
        clock = f"{at:%H:%M:%S}" if at.date() == today else f"{at:%Y-%m-%d %H:%M:%S}"
        return f"{clock}, {relative(instant)}"

    def full(self, instant: str) -> str:
        """Return an instant in UTC, in the zone where that is another, and how far from now."""
        at = _parse(instant)
        local = at.astimezone(self.zone)
        others = [relative(instant)]
        if local.utcoffset() or local.tzname() != "UTC":
            others.insert(0, f"{local:%Y-%m-%d %H:%M:%S %Z}")
        return f"{at:%Y-%m-%d %H:%M:%S} UTC ({', '.join(others)})"


def read_display(*, utc: bool, zone: str, is_terminal: bool) -> TimeDisplay:
    """Return how to show times: as asked for, else local on a terminal and in UTC elsewhere.

    Raises CommandError for an unknown zone.
    """
    if zone:
        loaded = load(zone)
        if loaded is None:
            raise CommandError(f"unknown time zone {zone!r}", EXIT_USAGE)
        return TimeDisplay(loaded)
    return TimeDisplay(UTC if utc or not is_terminal else None)


def is_instant(text: str) -> bool:
    """Return whether a text is an instant as the wire has them."""
    return WIRE_TIME.fullmatch(text) is not None


def relative(instant: str) -> str:
    """Return how far from now an instant is: "in 4 minutes", "2 hours ago"."""
    from humanize import naturaltime  # noqa: PLC0415 - not for the help

    now = datetime.now(UTC)
    at = _parse(instant)
    text = str(naturaltime(at, when=now))
    return f"in {text.removesuffix(' from now')}" if text.endswith(" from now") else text


def _parse(instant: str) -> datetime:
    return datetime.fromisoformat(instant)
