"""``adopt``, ``reconcile`` and ``backfillEndpoints``: what others left, taken over and repaired."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from service.storage.runs import occurrences, queue
from tests.support.admin import Admin, operator
from tests.support.host import dispatcher
from tests.support.job_runners import Setting, make_setting
from tests.support.platform import add_version, counts, install

PG_BOSS = {
    9: "name text PRIMARY KEY, cron text NOT NULL, timezone text, data jsonb, options jsonb,"
    " created_on timestamptz DEFAULT now(), updated_on timestamptz DEFAULT now()",
    10: "name text REFERENCES pgboss.queue (name) ON DELETE CASCADE PRIMARY KEY,"
    " cron text NOT NULL,"
    " timezone text, data jsonb, options jsonb,"
    " created_on timestamptz DEFAULT now(), updated_on timestamptz DEFAULT now()",
    11: "name text REFERENCES pgboss.queue (name) ON DELETE CASCADE, key text NOT NULL DEFAULT '',"
    " cron text NOT NULL, timezone text, data jsonb, options jsonb,"
    " created_on timestamptz DEFAULT now(), updated_on timestamptz DEFAULT now(),"
    " PRIMARY KEY (name, key)",
    12: "name text, key text NOT NULL DEFAULT '', cron text NOT NULL, timezone text, data jsonb,"
    " options jsonb, created_on timestamptz DEFAULT now(), updated_on timestamptz DEFAULT now(),"
    " PRIMARY KEY (name, key)",
}


# As versions 10 to 12 have them, in short.
QUEUES = """
CREATE TYPE pgboss.job_state AS ENUM
  ('created', 'retry', 'active', 'completed', 'cancelled', 'failed');
CREATE TABLE pgboss.job (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  name text NOT NULL REFERENCES pgboss.queue (name) ON DELETE RESTRICT,
  state pgboss.job_state NOT NULL);
CREATE FUNCTION pgboss.delete_queue(queue_name text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  DELETE FROM pgboss.queue WHERE name = queue_name;
END $$;
"""


@pytest.fixture(params=[False, True], ids=["one node", "several nodes"])
async def setting(pool: asyncpg.Pool, request: pytest.FixtureRequest) -> Setting:
    return await make_setting(pool, sharded=request.param)


async def test_adopt_adds_timers_and_reports_refused_schedules(setting: Setting) -> None:
    good, zoned = await setting.foreign(), await setting.foreign(timezone=None)
    off = await setting.unowned(enabled=False)
    bad = await setting.foreign(cron="@daily")
    gone = await setting.foreign(install_id=uuid4())
    dry = await setting.admin("adopt", dryRun=True)
    assert (dry["adopted"], await setting.timers()) == (2, set())
    answer = await setting.admin("adopt")
    assert answer["adopted"] == 2
    assert {each["subject"]: each["message"] for each in answer["problems"]} == {
        str(bad): "Invalid cron expression (expected 5 fields: m h dom mon dow)",
        str(gone): "Its install is gone",
    }
    assert await setting.timers() == {good, zoned}
    row = await setting.pool.fetchrow("SELECT * FROM tenant_extension_schedule WHERE id = $1", good)
    assert row is not None
    assert row["job_id"] == good
    again = await setting.admin("adopt")
    assert (again["adopted"], off in await setting.timers()) == (0, False)


@pytest.mark.parametrize("version", sorted(PG_BOSS))
async def test_pg_boss_schedules_are_adopted_and_removed_together(
    setting: Setting, version: int
) -> None:
    good = await setting.foreign()
    off = await setting.foreign(enabled=False)
    bad = await setting.foreign(cron="nonsense")
    names = {id_: f"extsched:{setting.install_id}:{id_}" for id_ in (good, off, bad)}
    others = ["nightly-report", f"extsched:{setting.install_id}", "extsched:x:y"]
    gone = f"extsched:{uuid4()}:{uuid4()}"
    await setting.pool.execute(
        f"""CREATE SCHEMA pgboss; CREATE TABLE pgboss.queue (name text PRIMARY KEY);
            CREATE TABLE pgboss.schedule ({PG_BOSS[version]})"""
    )
    if version >= 10:
        await setting.pool.execute(QUEUES)
    for name in (*names.values(), *others, gone):
        await setting.pool.execute("INSERT INTO pgboss.queue VALUES ($1)", name)
        await setting.pool.execute(
            "INSERT INTO pgboss.schedule (name, cron) VALUES ($1, '0 * * * *')", name
        )
    if version >= 10:
        await setting.pool.execute(
            "INSERT INTO pgboss.job (name, state) VALUES ($1, 'completed'), ($2, 'created')",
            names[good],
            names[off],
        )
    listed = "SELECT name FROM pgboss.schedule"
    refused = await setting.admin("adopt", pgBossSchema="pgboss")
    assert (refused["code"], refused["error"]) == (
        "DENIED",
        "Only a platform operator may name a pg-boss schema",
    )
    everybody = operator(setting.admin.dispatcher)
    body = {"tenantId": "tenant-1", "pgBossSchema": "pgboss"}
    dry = await everybody("adopt", **body, dryRun=True)
    assert (dry["adopted"], dry["pgBossRemoved"]) == (2, 2)
    assert await counts(setting.pool, "pgboss.schedule") == {"pgboss.schedule": 7}
    answer = await everybody("adopt", **body)
    assert (answer["adopted"], answer["pgBossRemoved"]) == (2, 2)
    left = {row["name"] for row in await setting.pool.fetch(listed)}
    # One queue of the two is empty; the other's job is still to be done.
    assert answer["pgBossQueuesRemoved"] == (1 if version >= 10 else 0)
    queues = {row["name"] for row in await setting.pool.fetch("SELECT name FROM pgboss.queue")}
    assert (names[good] in queues, names[off] in queues) == (version < 10, True)
    # What cannot be driven here stays where it is driven, another tenant's likewise.
    assert left == {*others, names[bad], gone}
    again = await everybody("adopt", **body)
    assert (again["adopted"], again["pgBossRemoved"]) == (0, 0)
    assert dry.get("handlesInAll") == 0
    everywhere = await everybody("adopt", pgBossSchema="pgboss")
    assert everywhere["pgBossRemoved"] == 1
    assert {row["name"] for row in await setting.pool.fetch(listed)} == {*others, names[bad]}


@pytest.mark.parametrize("schema", ["nowhere", "public", 'x"; DROP TABLE y; --', 3])
async def test_a_schema_without_pg_boss_is_a_field_error(setting: Setting, schema: Any) -> None:
    answer = await operator(setting.admin.dispatcher)("adopt", pgBossSchema=schema)
    assert list(answer["fieldErrors"]) == ["pgBossSchema"]


async def inconsistencies(setting: Setting, **body: Any) -> dict[str, tuple[int, int]]:
    answer = await setting.admin("reconcile", **body)
    assert answer["success"], answer
    return {
        each["kind"]: (each["found"], each["repaired"])
        for each in answer.get("inconsistencies", [])
    }


async def check(setting: Setting, kind: str) -> None:
    """Found and left by a dry run, repaired, and then no more."""
    assert await inconsistencies(setting, dryRun=True) == {kind: (1, 0)}
    assert await inconsistencies(setting) == {kind: (1, 1)}
    assert await inconsistencies(setting) == {}


async def test_a_schedule_without_timer_gets_one(setting: Setting) -> None:
    id_ = await setting.unowned()
    await check(setting, "schedule_without_timer")
    assert await setting.timers() == {id_}


async def test_a_timer_without_schedule_is_removed(setting: Setting) -> None:
    await setting.pool.execute(
        """INSERT INTO ext_scheduler.timers (tenant_id, schedule_id, install_id, cron, timezone,
           due_at) VALUES ('tenant-1', $1, $2, '0 * * * *', 'UTC', now())""",
        uuid4(),
        setting.install_id,
    )
    await check(setting, "timer_without_schedule")


async def test_a_timer_of_a_disabled_schedule_is_removed(setting: Setting) -> None:
    id_ = await setting.unowned()
    await inconsistencies(setting)
    await setting.pool.execute("UPDATE tenant_extension_schedule SET enabled = false")
    await check(setting, "timer_without_schedule")
    assert id_ not in await setting.timers()


async def test_a_schedule_without_install_is_removed(setting: Setting) -> None:
    await setting.unowned(install_id=uuid4(), enabled=False)
    await check(setting, "schedule_without_install")
    table = "tenant_extension_schedule"
    assert await counts(setting.pool, table) == {table: 0}


async def test_a_schedule_without_endpoint_is_disabled(setting: Setting) -> None:
    id_ = await setting.unowned(endpoint_id=uuid4())
    await setting.pool.execute(
        """INSERT INTO ext_scheduler.timers VALUES
           ('tenant-1', $1, $2, '0 * * * *', 'UTC',
            date_trunc('hour', now()) + interval '1 hour', 0)""",
        id_,
        setting.install_id,
    )
    await check(setting, "schedule_without_endpoint")
    shown = (await setting.admin("getSchedule", scheduleId=str(id_)))["schedule"]
    assert (shown["enabled"], shown["lastError"]) == (
        False,
        "Disabled because its endpoint is gone",
    )
    assert await setting.timers() == set()


async def planned(setting: Setting) -> None:
    """Queue an occurrence of a sound schedule."""
    id_ = await setting.unowned()
    await inconsistencies(setting)
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    each = occurrences.Occurrence(
        tenant_id="tenant-1", install_id=setting.install_id, schedule_id=id_, slot=now
    )
    async with setting.pool.acquire() as connection:
        await occurrences.plan(connection, [each], now)
    assert await inconsistencies(setting) == {}


async def test_a_run_without_job_gets_one(setting: Setting) -> None:
    await planned(setting)
    await setting.pool.execute("DELETE FROM ext_scheduler.pgqueuer")
    await check(setting, "run_without_job")
    payload = await setting.pool.fetchval("SELECT payload FROM ext_scheduler.pgqueuer")
    run_id = await setting.pool.fetchval("SELECT id FROM ext_scheduler.runs")
    assert queue.read_payload(payload).run_id == run_id


async def test_a_job_without_run_is_removed(setting: Setting) -> None:
    await planned(setting)
    await setting.pool.execute("DELETE FROM ext_scheduler.runs")
    await check(setting, "job_without_run")
    table = "ext_scheduler.pgqueuer"
    assert await counts(setting.pool, table) == {table: 0}


async def test_an_irreparable_schedule_is_reported_every_time(setting: Setting) -> None:
    await setting.unowned(cron="nonsense")
    assert await inconsistencies(setting) == {"schedule_without_timer": (1, 0)}
    assert await inconsistencies(setting) == {"schedule_without_timer": (1, 0)}


async def test_repairs_of_one_tenant_do_not_change_another(setting: Setting) -> None:
    await setting.unowned()
    await planned(setting)
    await setting.pool.execute("DELETE FROM ext_scheduler.runs")
    await setting.pool.execute("DELETE FROM ext_scheduler.timers")
    other = Admin(setting.admin.dispatcher, tenant_id="tenant-2")
    assert (await other("reconcile")) == {"success": True}
    everything = await operator(setting.admin.dispatcher)("reconcile")
    assert len(everything["inconsistencies"]) == 2


async def test_an_operators_repairs_are_in_the_audit_log_of_the_tenant(setting: Setting) -> None:
    await setting.unowned(endpoint_id=uuid4())
    everyones = operator(setting.admin.dispatcher)
    await everyones("reconcile", dryRun=True)
    await everyones("reconcile")
    (entry,) = (await setting.admin("auditLog"))["entries"][:1]
    assert (entry["op"], entry["actor"]) == ("reconcile", "operator/operator-1")
    assert entry["changes"] == {"schedule_without_endpoint": 1}


async def test_backfilling_reports_malformed_manifests_and_may_be_repeated(
    pool: asyncpg.Pool,
) -> None:
    good = await install(pool)
    broken = await install(pool, endpoints='"not even a list"')
    half = uuid4()
    listed = [{"method": "GET", "path": "/x", "handler": "h"}, {"path": 3}]
    await add_version(pool, good.registry_id, half, listed)
    await pool.execute(
        "INSERT INTO extension_api_endpoint (version_id, method, path) VALUES ($1, 'get', 'x')",
        half,
    )
    operating = operator(dispatcher(pool))
    answer = await operating("backfillEndpoints")
    assert (answer["versions"], answer["endpointsCreated"]) == (3, 7)
    assert {each["subject"] for each in answer["malformed"]} == {
        str(half),
        str(broken.version_id),
    }
    assert (await operating("backfillEndpoints"))["endpointsCreated"] == 0
    one = await operating("backfillEndpoints", versionId=str(half))
    assert (one["versions"], one["endpointsCreated"]) == (1, 0)
    unknown = await operating("backfillEndpoints", versionId=str(uuid4()))
    assert unknown["code"] == "NOT_FOUND"
