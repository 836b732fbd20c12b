"""Uninstall and purge leave nothing but the audit, also in races with everything else."""

import asyncio
import random
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from msgspec import Struct

from contracts.errors import Code
from service.rules.limits import Limits
from service.rules.outcomes import CallOutcome
from service.rules.planning import SlotCache
from service.storage.engine import clock
from service.storage.engine.connection import Connection
from service.storage.runs.queue import JobPayload
from service.storage.runs.updates import RunUpdate
from service.worker.firing import FiringSettings
from service.worker.firing.attempt import AttemptResult, ClaimedAttempt
from service.worker.firing.attempt_store import AttemptStore, Unwritten
from service.worker.planner import PlannerSettings, plan_due
from tests.support.admin import Admin, operator, register
from tests.support.host import Caller, dispatcher, read
from tests.support.platform import Installed

AUDIT = "ext_scheduler.audit"
NEVER_MEANWHILE = "0 0 29 2 *"
"""Its timers are made due by hand, and have no other slot while a test lasts."""
COLUMNS = """
SELECT format('%I.%I', c.table_schema, c.table_name) AS name, c.column_name
FROM information_schema.columns c
JOIN information_schema.tables t USING (table_schema, table_name)
WHERE c.table_schema IN ('public', 'ext_scheduler') AND t.table_type = 'BASE TABLE'
"""


async def traces(pool: asyncpg.Pool, needle: str) -> dict[str, int]:
    """Return in how many rows of each table a text occurs anywhere."""
    tables = {row["name"] for row in await pool.fetch(COLUMNS)}
    found = {}
    for table in sorted(tables):
        count = await pool.fetchval(
            f"SELECT count(*) FROM {table} r WHERE strpos(r::text, $1) > 0"
            f" OR strpos(r::text, encode(convert_to($1, 'UTF8'), 'hex')) > 0",
            needle,
        )
        if count:
            found[table] = count
    return found


class InstallFixture(Struct, frozen=True):
    """An install with everything that one can have."""

    admin: Admin
    host: Caller

    @property
    def id(self) -> UUID:
        return self.host.installed.install_id


async def install_fixture(
    pool: asyncpg.Pool, tenant_id: str, limits: Limits | None = None
) -> InstallFixture:
    """Register an install of a tenant."""
    served = dispatcher(pool, limits or Limits(changes_per_minute=1_000, max_schedules=1_000))
    admin = Admin(served, tenant_id=tenant_id)
    rows = await register(admin, "1.0.0", "/a")
    ids = [UUID(rows[name]) for name in ("installId", "registryId", "versionId")]
    return InstallFixture(admin, Caller(served, Installed(tenant_id, *ids)))


async def fill(pool: asyncpg.Pool, fixture: InstallFixture) -> None:
    """Write rows of every kind, from schedules and timers to config and secrets."""
    for number in range(4):
        await fixture.host("create", endpoint="/a", cron=NEVER_MEANWHILE, name=f"n{number}")
    install_id, tenant_id = fixture.id, fixture.admin.tenant_id
    await fixture.admin(
        "createSchedule",
        installId=str(install_id),
        endpoint="/a",
        cron=NEVER_MEANWHILE,
        enabled=False,
    )
    await operator(fixture.admin.dispatcher)(
        "createSchedule", installId=str(install_id), endpoint="/a", cron=NEVER_MEANWHILE
    )
    page = await fixture.admin("listSchedules")
    await fixture.admin("runNow", scheduleId=page["schedules"][0]["id"])
    async with pool.acquire() as connection:
        await plan(connection, tenant_id)
    await start_some(pool, tenant_id)
    for table in ("config", "secrets"):
        await pool.execute(
            f"INSERT INTO tenant_extension_install_{table} (install_id, tenant_id) VALUES ($1, $2)",
            install_id,
            tenant_id,
        )


async def plan(connection: Connection, tenant_id: str) -> None:
    """Make a tenant's timers due, and plan what is due."""
    await connection.execute(
        "UPDATE ext_scheduler.timers t SET due_at = date_trunc('minute', now()) FROM ("
        " SELECT schedule_id FROM ext_scheduler.timers WHERE tenant_id = $1"
        " ORDER BY schedule_id FOR UPDATE) o WHERE t.schedule_id = o.schedule_id",
        tenant_id,
    )
    now = await clock.read(connection)
    await plan_due(connection, now, PlannerSettings(), SlotCache())


def attempt_store(pool: asyncpg.Pool) -> AttemptStore:
    """Return what a worker writes with."""
    return AttemptStore(pool, FiringSettings(), clock.read)


async def start_some(pool: asyncpg.Pool, tenant_id: str) -> list[ClaimedAttempt]:
    """Begin attempts of what is queued, one for each schedule, as a worker does."""
    rows = await pool.fetch(
        "SELECT DISTINCT ON (schedule_id) tenant_id, id, schedule_id, slot FROM ext_scheduler.runs"
        " WHERE tenant_id = $1 AND status = 'queued' ORDER BY schedule_id, slot",
        tenant_id,
    )
    answers = await attempt_store(pool).claim([JobPayload(*row) for row in rows]) if rows else []
    return [answer for answer in answers if isinstance(answer, ClaimedAttempt)]


async def finish(pool: asyncpg.Pool, attempts: list[ClaimedAttempt]) -> int:
    """Write their ends, as a worker does; return how many were written."""
    if not attempts:
        return 0
    results = [
        AttemptResult(attempt=attempt, outcome=CallOutcome(http_status=200)) for attempt in attempts
    ]
    store, count = attempt_store(pool), 0
    while results:
        written = await store.write(results)
        count += sum(isinstance(each, RunUpdate) for each in written)
        pairs = zip(results, written, strict=True)
        results = [result for result, each in pairs if each is Unwritten.SCHEDULE_LOCKED]
        await asyncio.sleep(0)
    return count


@pytest.mark.parametrize("op", ["uninstall", "purgeTenant"])
async def test_uninstall_leaves_only_audit_entries(pool: asyncpg.Pool, op: str) -> None:
    fixture, other = (
        await install_fixture(pool, "tenant-1"),
        await install_fixture(pool, "tenant-2"),
    )
    await fill(pool, fixture)
    await fill(pool, other)
    before, kept = await traces(pool, str(fixture.id)), await traces(pool, str(other.id))
    assert len(before) > 8
    async with pool.acquire() as connection:
        running = await connection.fetchval("SELECT count(*) FROM ext_scheduler.active_runs")
    assert running > 0
    body = {"installId": str(fixture.id)} if op == "uninstall" else {"tenantId": "tenant-1"}
    jti = uuid4()
    reply = await fixture.admin.send(op, body, jti)
    answer = read(reply)
    assert answer["success"] is True
    assert (answer["schedulesRemoved"], answer["runsRemoved"]) == (6, 6)
    after = await traces(pool, str(fixture.id))
    assert set(after) == {AUDIT, "ext_scheduler.outbox"}
    events = await pool.fetch(
        "SELECT type FROM ext_scheduler.outbox WHERE install_id = $1", fixture.id
    )
    assert [row["type"] for row in events] == ["install.removed"]
    holders = "SELECT count(*) FROM ext_scheduler.active_runs WHERE tenant_id = 'tenant-1'"
    assert await pool.fetchval(holders) == 0
    assert await traces(pool, str(other.id)) == kept
    # Its own record stays, and answers a repetition.
    assert (await fixture.admin.send(op, body, jti)).body == reply.body
    assert (await fixture.host("list"))["code"] == Code.NOT_FOUND


async def test_a_purge_removes_rows_of_orphaned_installs(pool: asyncpg.Pool) -> None:
    fixture = await install_fixture(pool, "tenant-1")
    await fill(pool, fixture)
    await fixture.admin("setTenantPaused", tenantId="tenant-1", paused=True)
    await pool.execute("DELETE FROM tenant_extension_install")
    answer = await fixture.admin("purgeTenant", tenantId="tenant-1")
    assert (answer["installsRemoved"], answer["schedulesRemoved"]) == (0, 6)
    assert set(await traces(pool, str(fixture.id))) == {AUDIT}
    assert set(await traces(pool, "tenant-1")) == {AUDIT, "ext_scheduler.idempotency"}


async def test_a_second_purge_changes_nothing_and_keeps_the_removal_event(
    pool: asyncpg.Pool,
) -> None:
    fixture = await install_fixture(pool, "tenant-1")
    await fill(pool, fixture)
    removal, jti = {"installId": str(fixture.id)}, uuid4()
    first = await fixture.admin.send("uninstall", removal, jti)
    everyones = operator(fixture.admin.dispatcher)
    # What a worker that was killed has left of a schedule that is gone.
    await pool.execute(
        "INSERT INTO ext_scheduler.active_runs VALUES ('tenant-1', $1, $1, now(), 1, now(), now())",
        uuid4(),
    )
    assert (await everyones("purgeTenant", tenantId="tenant-1"))["success"] is True
    before = await traces(pool, "tenant-1")
    assert before["ext_scheduler.outbox"] == 1
    assert set(before) == {AUDIT, "ext_scheduler.idempotency", "ext_scheduler.outbox"}
    assert (await everyones("purgeTenant", tenantId="tenant-1"))["success"] is True
    assert await traces(pool, "tenant-1") == before
    assert (await fixture.admin.send("uninstall", removal, jti)).body == first.body


async def test_a_table_that_still_refers_to_an_install_is_named(pool: asyncpg.Pool) -> None:
    fixture = await install_fixture(pool, "tenant-1")
    await fill(pool, fixture)
    await pool.execute(
        "CREATE TABLE domains (install_id uuid REFERENCES tenant_extension_install (id))"
    )
    await pool.execute("INSERT INTO domains VALUES ($1)", fixture.id)
    before = await traces(pool, str(fixture.id))
    answer = await fixture.admin("uninstall", installId=str(fixture.id))
    assert answer["code"] == "CONFLICT"
    assert answer["error"] == "Install is still referred to by domains"
    assert await traces(pool, str(fixture.id)) == before


async def test_a_run_in_flight_writes_nothing_after_removal(pool: asyncpg.Pool) -> None:
    fixture = await install_fixture(pool, "tenant-1")
    await fixture.host("create", endpoint="/a", cron="*/5 * * * *")
    async with pool.acquire() as connection:
        await plan(connection, "tenant-1")
    running = await start_some(pool, "tenant-1")
    assert len(running) == 1
    await fixture.admin("uninstall", installId=str(fixture.id))
    before = await traces(pool, str(fixture.id))
    assert await finish(pool, running) == 0
    assert await traces(pool, str(fixture.id)) == before


async def create_and_change(fixture: InstallFixture) -> None:
    """Do what an extension and an administrator do meanwhile."""
    for number in range(6):
        created = await fixture.host("create", endpoint="/a", cron="*/10 * * * *")
        if created["success"]:
            identity = created["scheduleId"]
            await fixture.host("update", scheduleId=identity, cron="0 * * * *")
            await fixture.admin("runNow", scheduleId=identity)
            if number % 2:
                await fixture.host("delete", scheduleId=identity)


async def work(pool: asyncpg.Pool, tenant_id: str) -> None:
    """Do what a worker does meanwhile."""
    for _ in range(6):
        async with pool.acquire() as connection:
            await plan(connection, tenant_id)
        await finish(pool, await start_some(pool, tenant_id))


async def remove(fixture: InstallFixture, seed: int) -> dict[str, Any]:
    """Remove it at some moment, again where that could not be."""
    for _ in range(random.Random(seed).randrange(40)):
        await asyncio.sleep(0)
    while True:
        if seed % 2:
            answer = await fixture.admin("uninstall", installId=str(fixture.id))
        else:
            answer = await fixture.admin("purgeTenant", tenantId=fixture.admin.tenant_id)
        if answer.get("code") != "UNAVAILABLE":
            return answer


async def race(pool: asyncpg.Pool, seed: int) -> None:
    """Run everything at once: creates, changes, planners, runs, manual runs, and the removal."""
    fixture = await install_fixture(pool, f"tenant-{seed}")
    tenant_id = fixture.admin.tenant_id
    for _ in range(3):
        await fixture.host("create", endpoint="/a", cron="*/5 * * * *")
    *_, answer = await asyncio.gather(
        create_and_change(fixture),
        create_and_change(fixture),
        work(pool, tenant_id),
        work(pool, tenant_id),
        remove(fixture, seed),
    )
    assert answer["success"], answer
    left = await traces(pool, str(fixture.id))
    assert set(left) <= {AUDIT, "ext_scheduler.outbox"}, (seed, left)
    types = await pool.fetch(
        "SELECT type FROM ext_scheduler.outbox WHERE install_id = $1", fixture.id
    )
    assert [row["type"] for row in types] == ["install.removed"]
    active = "SELECT count(*) FROM ext_scheduler.active_runs WHERE tenant_id = $1"
    assert await pool.fetchval(active, tenant_id) == 0


async def test_removal_wins_every_race(pool: asyncpg.Pool) -> None:
    for seed in range(25):
        await race(pool, seed)
