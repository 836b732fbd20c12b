"""Instants for people: in the viewer's zone, with UTC on demand, and relative to now."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from markupsafe import Markup

from contracts.times import read_time

MAX_ZONE_LENGTH = 64
_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


def zone_of(name: str | None) -> ZoneInfo:
    """Return the zone of a name that a browser sends; UTC for none, or an unknown one."""
    if not name or len(name) > MAX_ZONE_LENGTH:
        return ZoneInfo("UTC")
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return ZoneInfo("UTC")


def instant(text: str | None, zone: ZoneInfo, now: datetime) -> Markup:
    """Return an instant of the wire as a time on the viewer's clock, with UTC as its title."""
    if not text:
        return Markup('<span class="none">-</span>')
    at = read_time(text)
    return Markup('<time datetime="{}" title="{} UTC">{}</time>').format(
        text, f"{at:%Y-%m-%d %H:%M:%S}", local_text(at, zone, now)
    )


def moment(text: str | None, zone: ZoneInfo, now: datetime) -> Markup:
    """Return an instant with how far it is from now."""
    if not text:
        return Markup('<span class="none">-</span>')
    return Markup('{} <span class="relative">{}</span>').format(
        instant(text, zone, now), relative(read_time(text), now)
    )


def local_text(at: datetime, zone: ZoneInfo, now: datetime) -> str:
    """Return the time on the viewer's clock; the date where it is another day."""
    local = at.astimezone(zone)
    if local.date() == now.astimezone(zone).date():
        return f"{local:%H:%M:%S}"
    return f"{local:%Y-%m-%d %H:%M:%S}"


def relative(at: datetime, now: datetime) -> str:
    """Return ``in 5 min`` or ``3 h ago``; whole units, the largest that fits."""
    distance = abs(at - now)
    if distance < timedelta(seconds=1):
        return "now"
    text = duration(distance)
    return f"in {text}" if at > now else f"{text} ago"


def duration(length: timedelta) -> str:
    """Return a length of time in its largest whole unit."""
    seconds = length.total_seconds()
    for unit, size in _UNITS:
        if seconds >= size:
            return f"{seconds // size:.0f} {unit}"
    return f"{seconds * 1000:.0f} ms"


def milliseconds(value: int | None) -> str:
    """Return a number of milliseconds in a unit that reads well."""
    if value is None:
        return "-"
    if value < 1_000:
        return f"{value} ms"
    return f"{value / 1000:.1f} s" if value < 60_000 else duration(timedelta(milliseconds=value))


def utc_now() -> datetime:
    """Return the current instant."""
    return datetime.now(UTC)
