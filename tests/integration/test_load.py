"""The load of the coming week by minute, whose it is, and what a new schedule would meet."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import pytest

from contracts.admin_load import WEEK_MINUTES
from service.storage.schedules.load import TENANTS
from tests.support import schedule_rows
from tests.support.admin import Admin, operator
from tests.support.command_line import CommandLine, command_line, error_line
from tests.support.host import dispatcher
from tests.support.platform import TICK, install
from tests.support.responders import responders

# The clock goes forward in Berlin in this week: there 02:30 does not exist on the 29th.
NOW = datetime(2026, 3, 27, 12, 0, 30, tzinfo=UTC)
DUE = datetime(2026, 3, 28, 1, 30, tzinfo=UTC)


@pytest.fixture
async def everyone(pool: asyncpg.Pool) -> Admin:
    """Return an operator; acme has two nightly schedules in Berlin, zeta one and an hourly one."""
    async with pool.acquire() as connection:
        acme = await install(connection, tenant_id="acme", materialised=TICK)
        zeta = await install(connection, tenant_id="zeta", materialised=TICK)
        for made in (acme, acme, zeta):
            await schedule_rows.schedule(
                connection, made, cron="30 2 * * *", timezone="Europe/Berlin", due_at=DUE
            )
        await schedule_rows.schedule(connection, zeta, cron="30 * * * *", due_at=DUE)
    return operator(dispatcher(pool, clock=lambda _: NOW))


def minute(day: int, hour: int, minutes: int) -> int:
    """Return which minute of the week an instant of March is."""
    return int((datetime(2026, 3, day, hour, minutes, tzinfo=UTC) - NOW).total_seconds() // 60) + 1


async def test_every_minute_of_the_week_is_counted_on_the_clocks_of_the_zones(
    everyone: Admin,
) -> None:
    load = await everyone("load")
    minutes = load["minutes"]
    assert load["begins"] == "2026-03-27T12:00:00.000Z"
    assert (load["schedules"], load["slots"], load["met"]) == (4, 3 * 7 + 168, None)
    assert (len(minutes), sum(minutes)) == (WEEK_MINUTES, load["slots"])
    # Before the change 01:30 UTC, on that day the first minute after the gap, then 00:30 UTC.
    assert minutes[minute(28, 1, 30)] == 4
    assert (minutes[minute(29, 1, 0)], minutes[minute(29, 1, 30)]) == (3, 1)
    assert (minutes[minute(30, 0, 30)], minutes[minute(30, 1, 30)]) == (4, 1)
    own = await everyone("load", tenantId="acme")
    assert (own["schedules"], own["slots"], max(own["minutes"])) == (2, 14, 2)


async def test_a_new_schedule_is_told_what_it_would_meet(everyone: Admin) -> None:
    met = (await everyone("load", cron="30 1 * * *"))["met"]
    assert met == {"slots": 7, "median": 1, "most": 4, "mostAt": "2026-03-28T01:30:00.000Z"}
    rare = (await everyone("load", cron="0 0 29 2 *"))["met"]
    assert rare == {"slots": 0, "median": 0, "most": 0, "mostAt": None}
    for fields in (
        {"cron": "61 * * * *"},
        {"timezone": "UTC"},
        {"cron": "0 * * * *", "timezone": "X"},
    ):
        refused = await everyone("load", **fields)
        assert (refused["code"], len(refused["fieldErrors"])) == ("VALIDATION_FAILED", 1)


async def test_the_tenants_of_a_minute_are_those_with_a_slot_in_it(everyone: Admin) -> None:
    crowded = await everyone("loadMinute", minute="2026-03-28T01:30:00Z")
    assert (crowded["schedules"], crowded["tenants"]) == (4, 2)
    assert [(row["tenantId"], row["schedules"]) for row in crowded["most"]] == [
        ("acme", 2),
        ("zeta", 2),
    ]
    part = await everyone("loadMinute", minute="2026-03-28T02:30:00+01:00", limit=1)
    assert [row["tenantId"] for row in part["most"]] == ["acme"]
    assert (part["schedules"], part["tenants"]) == (4, 2)
    own = await everyone("loadMinute", minute="2026-03-29T01:30:00Z", tenantId="zeta")
    assert (own["schedules"], own["tenants"]) == (1, 1)
    assert own["most"] == [{"tenantId": "zeta", "schedules": 1}]
    none = await everyone("loadMinute", minute="2026-03-29T01:30:00Z", tenantId="acme")
    assert (none["schedules"], none["tenants"], none["most"]) == (0, 0, [])
    hourly = await everyone("loadMinute", minute="2026-03-29T01:30:20Z")
    assert [row["tenantId"] for row in hourly["most"]] == ["zeta"]
    assert hourly["minute"] == "2026-03-29T01:30:00.000Z"
    empty = await everyone("loadMinute", minute="2026-03-28T01:31:00Z")
    assert (empty["schedules"], empty["most"]) == (0, [])
    for outside in ("2026-03-27T11:59:00Z", "2026-04-03T12:00:00Z", "tomorrow"):
        refused = await everyone("loadMinute", minute=outside)
        assert list(refused["fieldErrors"]) == ["minute"]
        also = await everyone("load", minute=outside)
        assert also["fieldErrors"] == refused["fieldErrors"]


async def test_week_and_minute_are_answered_together(everyone: Admin) -> None:
    asked = {"minute": "2026-03-28T01:30:20Z", "limit": 1}
    for tenant in ({}, {"tenantId": "zeta"}):
        both = await everyone("load", **asked, **tenant)
        assert both.pop("minute") == await everyone("loadMinute", **asked, **tenant)
        assert both == await everyone("load", **tenant)


async def test_whose_a_minute_is_takes_one_pass_and_no_index(pool: asyncpg.Pool) -> None:
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL enable_seqscan = off")  # as in the service's sessions
        rows = await connection.fetch(f"EXPLAIN {TENANTS}", ["0 * * * *"], ["0 * * * *\nUTC"], 50)
    plan = "\n".join(row[0] for row in rows)
    assert "Seq Scan on timers" in plan
    assert "Index" not in plan


@pytest.fixture
async def line(tmp_path: Path, database: str, nats_url: str) -> AsyncIterator[CommandLine]:
    """Yield a command line with a responder behind it."""
    async with responders(1, tmp_path, database, nats_url):
        yield command_line(tmp_path, nats_url)


async def test_the_command_line_names_crowded_minutes_and_their_tenants(
    line: CommandLine, pool: asyncpg.Pool
) -> None:
    async with pool.acquire() as connection:
        acme = await install(connection, tenant_id="acme", materialised=TICK)
        for cron in ("7 * * * *", "7 3 * * *"):
            await schedule_rows.schedule(connection, acme, cron=cron, due_at=DUE)
    result = await line.ok("admin", "load", "--cron", "7 3 * * *")
    shown, minute = result.out, result.err.split()[-1]
    assert "would meet" in shown
    crowded = shown.partition("most crowded minutes:")[2].splitlines()[2:]
    assert [text.split()[-1] for text in crowded] == ["2"] * 7 + ["1"] * 13
    assert all("03:07" in text for text in crowded[:7])
    tenants = (await line.ok("admin", "load-minute", minute)).out
    assert "acme" in tenants
    both = (await line.ok("admin", "load", "--minute", minute)).out
    assert "acme" in both.partition("most crowded minutes:")[0]
    error_line(await line("admin", "load-minute", "2020-01-01T00:00:00Z"), 3)
