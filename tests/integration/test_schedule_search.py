"""Schedules searched and sorted by an administrator: what is found, and what a request costs."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
import pytest

from service.storage.schedules import sorted_pages, text_search
from service.storage.schedules.text_search import SCANNED_ROWS
from tests.support import schedule_rows
from tests.support.admin import Admin, operator
from tests.support.console_stack import add_run
from tests.support.host import dispatcher
from tests.support.platform import Installed, install

NOW = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
MANY = """
INSERT INTO tenant_extension_schedule (id, tenant_id, install_id, endpoint_id, cron, name, enabled)
SELECT gen_random_uuid(), 'acme', $1, $2, '0 * * * *', 'schedule ' || n, true
FROM generate_series(1, $3::integer) n
"""


@pytest.fixture
def everyone(pool: asyncpg.Pool) -> Admin:
    return operator(dispatcher(pool))


async def named(pool: asyncpg.Pool, made: Installed, name: str | None, **row: Any) -> str:
    async with pool.acquire() as connection:
        id_ = await schedule_rows.schedule(
            connection, made, **{"due_at": NOW + timedelta(hours=1), **row}
        )
        await connection.execute(
            "UPDATE tenant_extension_schedule SET name = $2 WHERE id = $1", id_, name
        )
    return str(id_)


async def an_install(pool: asyncpg.Pool, tenant_id: str, path: str = "/api/tick") -> Installed:
    async with pool.acquire() as connection:
        return await install(connection, tenant_id=tenant_id, materialised=("POST", path))


async def found(admin: Admin, **body: Any) -> set[str]:
    page = await admin("listSchedules", **body)
    return {row["id"] for row in page["schedules"]}


async def test_a_text_is_found_in_name_path_extension_and_tenant(
    pool: asyncpg.Pool, everyone: Admin
) -> None:
    acme = await an_install(pool, "acme", "/api/report")
    zeta = await an_install(pool, "zeta")
    nightly = await named(pool, acme, "The Nightly 100%")
    other = await named(pool, zeta, "hourly")
    nameless = await named(pool, zeta, None)
    assert await found(everyone, text="nightly") == {nightly}
    assert await found(everyone, text="100%") == {nightly}
    assert await found(everyone, text="1_0") == set()
    assert await found(everyone, text="\\") == set()
    assert await found(everyone, text="api/rep") == {nightly}
    assert await found(everyone, text="zet") == {other, nameless}
    assert await found(everyone, text=f"acme/demo-{zeta.registry_id}") == {other, nameless}
    assert await found(everyone, text="hourly", tenantId="acme") == set()
    own = Admin(everyone.dispatcher, tenant_id="acme")
    assert await found(own, text="") == {nightly}
    assert await found(own, text="api") == {nightly}
    (row,) = (await own("listSchedules", text="nightly"))["schedules"]
    assert row["extension"] == f"acme/demo-{acme.registry_id}"
    assert row["words"] == "Every 5 minutes, UTC"


async def test_held_schedules_are_those_that_say_what_holds_them(
    pool: asyncpg.Pool, everyone: Admin
) -> None:
    fires = await named(pool, await an_install(pool, "acme"), "fires")
    held = {
        await named(pool, await an_install(pool, "acme"), "off", enabled=False, due_at=None),
        await named(pool, await an_install(pool, "acme"), "no timer", due_at=None),
    }
    off = await an_install(pool, "acme")
    held.add(await named(pool, off, "install off"))
    paused = await an_install(pool, "paused")
    held.add(await named(pool, paused, "tenant paused"))
    moved = await an_install(pool, "acme")
    held.add(await named(pool, moved, "endpoint missing"))
    foreign = await named(pool, await an_install(pool, "acme"), "foreign")
    held.add(foreign)
    await pool.execute(
        "UPDATE tenant_extension_install SET is_enabled = false WHERE id = $1", off.install_id
    )
    await pool.execute("DELETE FROM extension_api_endpoint WHERE version_id = $1", moved.version_id)
    await pool.execute(
        "UPDATE tenant_extension_schedule SET runner_schedule_id = 'x' WHERE id = $1", UUID(foreign)
    )
    assert (await everyone("setTenantPaused", tenantId="paused", paused=True))["success"]
    page = await everyone("listSchedules")
    assert {row["id"] for row in page["schedules"] if row["heldBy"]} == held
    assert await found(everyone, held=True) == held
    assert await found(everyone, held=False) == {fires}
    assert await found(everyone, held=True, enabled=False) == {
        row["id"] for row in page["schedules"] if row["heldBy"] and not row["enabled"]
    }
    assert await found(everyone, cron="*/5 * * * *", held=False) == {fires}
    assert await found(everyone, cron="0 * * * *") == set()


async def test_a_search_looks_at_a_bounded_number_of_schedules_and_goes_on_behind_them(
    pool: asyncpg.Pool, everyone: Admin
) -> None:
    made = await an_install(pool, "acme")
    async with pool.acquire() as connection:
        endpoint = await connection.fetchval("SELECT id FROM extension_api_endpoint")
        await connection.execute(MANY, made.install_id, endpoint, SCANNED_ROWS + 100)
        await connection.execute("ANALYZE tenant_extension_schedule")
        last = await connection.fetchval(
            "SELECT id FROM tenant_extension_schedule ORDER BY id DESC LIMIT 1"
        )
        await connection.execute(
            "UPDATE tenant_extension_schedule SET name = 'needle' WHERE id = $1", last
        )
        values = ("acme", UUID(int=0), "%needle%", None, True, None, None, None, 50)
        text = await connection.fetchval(
            f"EXPLAIN (ANALYZE, FORMAT JSON) {text_search.MATCHING_OF_TENANT}", *values
        )
        for node in nodes(msgspec.json.decode(text)[0]["Plan"]):
            assert node["Actual Rows"] <= SCANNED_ROWS, node
    for tenant in ({}, {"tenantId": "acme"}):
        first = await everyone("listSchedules", text="needle", **tenant)
        assert (first["schedules"], "nextCursor" in first) == ([], True)
        rest = await everyone("listSchedules", text="needle", cursor=first["nextCursor"], **tenant)
        assert [row["id"] for row in rest["schedules"]] == [str(last)]
        assert "nextCursor" not in rest


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for inner in plan.get("Plans", []) for node in nodes(inner))]


async def test_schedules_are_sorted_by_their_next_and_last_run(
    pool: asyncpg.Pool, everyone: Admin
) -> None:
    acme, zeta = await an_install(pool, "acme"), await an_install(pool, "zeta")
    ids = [
        await named(pool, made, None, due_at=NOW + timedelta(hours=hours))
        for made, hours in ((acme, 3), (zeta, 1), (acme, 1), (acme, 2))
    ]
    await named(pool, acme, None, due_at=None)
    for index, hours in ((0, 5), (2, 7), (3, 6)):
        await pool.execute(
            "UPDATE tenant_extension_schedule SET last_run_at = $2 WHERE id = $1",
            UUID(ids[index]),
            NOW + timedelta(hours=hours),
        )
    assert await in_order(everyone, sort="next") == [ids[2], ids[1], ids[3], ids[0]]
    assert await in_order(everyone, sort="next", tenantId="zeta") == [ids[1]]
    assert await in_order(everyone, sort="last", tenantId="acme") == [ids[2], ids[3], ids[0]]
    own = Admin(everyone.dispatcher, tenant_id="acme")
    assert await in_order(own, sort="last") == [ids[2], ids[3], ids[0]]
    assert await in_order(own, sort="next") == [ids[2], ids[3], ids[0]]
    refused = await everyone("listSchedules", sort="last")
    assert refused["fieldErrors"] == {"sort": "needs a tenantId"}
    refused = await everyone("listSchedules", sort="next", failing=True, text="x", cursor="x")
    assert set(refused["fieldErrors"]) == {"failing", "text", "cursor"}


async def in_order(admin: Admin, **body: Any) -> list[str]:
    """Return the ids of all pages, of one row each."""
    ids: list[str] = []
    cursor = None
    while True:
        page = await admin("listSchedules", limit=1, cursor=cursor, **body)
        ids += [row["id"] for row in page["schedules"]]
        cursor = page.get("nextCursor")
        if cursor is None:
            return ids


async def test_the_coming_schedules_of_all_are_read_from_the_index_of_timers(
    connection: asyncpg.Connection,
) -> None:
    await connection.execute(
        "INSERT INTO ext_scheduler.timers (tenant_id, schedule_id, install_id, cron, timezone,"
        " due_at) SELECT 't', gen_random_uuid(), gen_random_uuid(), '', '',"
        " now() + n % 1000 * interval '1 minute' FROM generate_series(1, 20000) n"
    )
    await connection.execute("ANALYZE ext_scheduler.timers")
    text = await connection.fetchval(
        f"EXPLAIN (ANALYZE, FORMAT JSON) {sorted_pages.NEXT_OF_ALL}",
        *(NOW, "", UUID(int=0), None, 50),
    )
    for node in nodes(msgspec.json.decode(text)[0]["Plan"]):
        assert node["Node Type"] != "Seq Scan"
        assert node["Actual Rows"] <= 1000, node


async def test_a_list_has_the_last_runs_of_each_schedule_oldest_first(
    pool: asyncpg.Pool, everyone: Admin
) -> None:
    made = await an_install(pool, "acme")
    busy, idle = await named(pool, made, "busy"), await named(pool, made, "idle")
    async with pool.acquire() as connection:
        for minute in range(5):
            status = "error" if minute == 4 else "success"
            slot = NOW + timedelta(minutes=minute)
            last = await add_run(connection, made, UUID(busy), slot, status)
    page = await everyone("listSchedules", recentRuns=3)
    marks = {row["id"]: row["recentRuns"] for row in page["schedules"]}
    assert marks[idle] == []
    assert [mark["slot"][14:16] for mark in marks[busy]] == ["02", "03", "04"]
    assert marks[busy][-1]["runId"] == str(last)
    assert [mark["status"] for mark in marks[busy]] == ["success", "success", "error"]
    plain = await everyone("listSchedules")
    assert [row["recentRuns"] for row in plain["schedules"]] == [[], []]
    assert (await everyone("listSchedules", recentRuns=21))["code"] == "VALIDATION_FAILED"
