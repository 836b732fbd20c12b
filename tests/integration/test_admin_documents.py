"""A tenant that is too large for one message: exported in several documents, and put back whole."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.command_line import CommandLine, command_line
from tests.support.responders import responders

MANIFEST = {
    "name": "reports",
    "publisher": "acme",
    "version": "1.0.0",
    "capabilities": ["cap:scheduler.manage"],
    "api": {"endpoints": [{"method": "POST", "path": "/run", "handler": "run"}]},
}
COUNT = 7
LARGE = "x" * 60_000
"""Three schedules with such a payload fill a document."""


@pytest.fixture
async def line(tmp_path: Path, database: str, nats_url: str) -> AsyncIterator[CommandLine]:
    """Yield a command line with a responder behind it."""
    async with responders(1, tmp_path, database, nats_url):
        yield command_line(tmp_path, nats_url)


def document(*schedules: dict[str, Any]) -> dict[str, Any]:
    reports = {"publisher": "acme", "name": "reports", "schedules": schedules}
    return {"format": 1, "tenantId": "acme", "extensions": [reports]}


def schedule(number: int) -> dict[str, Any]:
    return {
        "endpointMethod": "POST",
        "endpointPath": "/run",
        "name": f"report {number}",
        "cron": f"{number} 3 * * *",
        "timezone": "Europe/Berlin",
        "enabled": number % 4 != 0,
        "payload": {"number": number, "large": LARGE},
    }


def rows(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found = [row for each in documents for part in each["extensions"] for row in part["schedules"]]
    return sorted(found, key=lambda row: int(row["payload"]["number"]))


async def test_a_large_tenant_is_exported_purged_and_imported(line: CommandLine) -> None:
    given = [schedule(number) for number in range(COUNT)]
    (line.home / "manifest.json").write_bytes(msgspec.json.encode(MANIFEST))
    pages = [document(*given[at : at + 3]) for at in range(0, COUNT, 3)]
    (line.home / "given.json").write_bytes(msgspec.json.encode(pages))
    registered = ("admin", "register", "manifest.json", "--tenant", "acme", "--grant-declared")
    await line.ok(*registered, "--content-hash", "ab" * 32)
    put_back = ("--tenant", "acme")
    assert (await line.json("admin", "import", "given.json", *put_back))["created"] == COUNT

    result = await line.ok("admin", "export", "acme", "--out", "acme.json")
    assert f": {COUNT}" in result.err
    exported = msgspec.json.decode((line.home / "acme.json").read_bytes())
    assert len(exported) > 2
    assert rows(exported) == given

    await line.ok("admin", "purge", "acme", "--yes")
    assert (await line.json("admin", "list"))["schedules"] == []
    await line.ok(*registered, "--content-hash", "ab" * 32)
    assert (await line.json("admin", "import", "acme.json", *put_back))["created"] == COUNT
    again = await line.json("admin", "export", "acme")
    assert rows(again) == given
