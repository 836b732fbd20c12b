"""Time zones, from the package ``tzdata`` alone: the same answer on every host."""

from functools import cache
from importlib import resources
from zoneinfo import ZoneInfo

import tzdata


@cache
def names() -> frozenset[str]:
    """Return every IANA name that the package knows, links included."""
    listing = resources.files(tzdata).joinpath("zones").read_text("ascii")
    return frozenset(listing.split())


def load(name: str) -> ZoneInfo | None:
    """Return the zone of exactly that spelling, or None where the package has no such name."""
    return _read(name) if name in names() else None


def release() -> str:
    """Return the IANA release of the package, such as ``2026a``."""
    return tzdata.IANA_VERSION


@cache
def _read(name: str) -> ZoneInfo:
    # Opened by hand: ZoneInfo(name) would look into the host's files first, and whether it does
    # is a switch of the whole process that any library may turn.
    with resources.files(tzdata).joinpath("zoneinfo", *name.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)
