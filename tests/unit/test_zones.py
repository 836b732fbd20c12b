"""Zone names and zone data: those of the package tzdata, whatever the host has."""

import importlib.metadata
import zoneinfo
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path

import pytest

from service.rules import zones


@pytest.mark.parametrize(
    "name", ["UTC", "Europe/Berlin", "US/Eastern", "Asia/Calcutta", "Etc/GMT+12", "GB"]
)
def test_iana_names_and_links_are_known(name: str) -> None:
    zone = zones.load(name)
    assert zone is not None
    assert zone.key == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "utc",
        "europe/berlin",
        "Europe/berlin",
        "Europe",
        "Europe/",
        "/Europe/Berlin",
        " UTC",
        "UTC\n",
        "UTC\0",
        "localtime",
        "posixrules",
        "posix/UTC",
        "right/UTC",
        "zone.tab",
        "tzdata.zi",
        "leapseconds",
        "__init__.py",
        "../zones",
        "Europe/../UTC",
        "./UTC",
        "/etc/localtime",
        "EST5EDT4",
        "UTC+1",
        "\ud800",
        "\uff35TC",
        "Mars/Olympus",
    ],
)
def test_a_name_that_iana_does_not_list_is_unknown(name: str) -> None:
    assert zones.load(name) is None


def test_every_listed_name_loads() -> None:
    assert len(zones.names()) > 500
    for name in zones.names():
        zone = zones.load(name)
        assert zone is not None
        assert datetime(2026, 7, 1, tzinfo=UTC).astimezone(zone).utcoffset() is not None


def test_names_are_those_of_the_index_of_zones() -> None:
    index = resources.files("tzdata").joinpath("zoneinfo", "tzdata.zi").read_text("ascii")
    lines = [line.split() for line in index.splitlines()]
    listed = {line[1] for line in lines if line[0] == "Z"} | {
        line[2] for line in lines if line[0] == "L"
    }
    zones.names.cache_clear()
    assert zones.names() == listed


def test_a_zone_is_read_once() -> None:
    assert zones.load("Europe/Berlin") is zones.load("Europe/Berlin")


def test_files_of_the_host_are_never_read(tmp_path: Path) -> None:
    """A host that takes Lima for Tokyo, and knows a name of its own, changes nothing."""
    tokyo = resources.files("tzdata").joinpath("zoneinfo", "Asia", "Tokyo").read_bytes()
    (tmp_path / "America").mkdir()
    (tmp_path / "America" / "Lima").write_bytes(tokyo)
    (tmp_path / "Nowhere").write_bytes(tokyo)
    before = zoneinfo.TZPATH
    zoneinfo.reset_tzpath([tmp_path])
    try:
        noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
        hosts = zoneinfo.ZoneInfo.no_cache("America/Lima")
        assert noon.astimezone(hosts).utcoffset() == timedelta(hours=9)
        assert noon.astimezone(zones.load("America/Lima")).utcoffset() == timedelta(hours=-5)
        assert zones.load("Nowhere") is None
    finally:
        zoneinfo.reset_tzpath(before)


def test_the_release_is_that_of_the_zone_data() -> None:
    source = resources.files("tzdata").joinpath("zoneinfo", "tzdata.zi").read_text("ascii")
    assert source.splitlines()[0] == f"# version {zones.release()}"
    assert importlib.metadata.version("tzdata").startswith(zones.release()[:4])
