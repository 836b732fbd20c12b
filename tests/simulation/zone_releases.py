"""Two releases of the time zone data: in the second, some zones have the rules of others."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import resources
from zoneinfo import ZoneInfo

import tzdata

from service.rules import zones

CHANGED = {
    "Africa/Casablanca": "Europe/London",
    "America/New_York": "America/Chicago",
    "Australia/Lord_Howe": "Australia/Sydney",
    "Europe/Berlin": "Europe/Helsinki",
}
"""Zones that have another zone's rules in the second release."""

ZONES = (
    "UTC",
    "Asia/Kathmandu",
    "America/St_Johns",
    "America/Havana",
    "Antarctica/Troll",
    "Asia/Beirut",
    "Pacific/Apia",
    *CHANGED,
)


@cache
def zone(name: str, second: bool = False) -> ZoneInfo:
    """Return the zone in the first or the second release."""
    source = CHANGED.get(name, name) if second else name
    place = resources.files(tzdata).joinpath("zoneinfo", *source.split("/"))
    with place.open("rb") as file:
        return ZoneInfo.from_file(file, key=name)


@contextmanager
def second_release() -> Iterator[None]:
    """Have the second release within the context, in every module of the service."""
    honest, release = zones.load, tzdata.IANA_VERSION
    changed = f"{release}-changed"

    def load(name: str) -> ZoneInfo | None:
        return zone(name, True) if name in CHANGED else honest(name)

    homes = [
        module
        for name, module in list(sys.modules.items())
        if name.startswith("service.") and getattr(module, "load", None) is honest
    ]
    assert zones in homes
    for module in homes:
        vars(module)["load"] = load
    vars(tzdata)["IANA_VERSION"] = changed
    try:
        yield
    finally:
        for module in homes:
            vars(module)["load"] = honest
        vars(tzdata)["IANA_VERSION"] = release
