"""The service on a real Citus cluster: what shares a transaction, what travels between nodes."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from nats.aio.msg import Msg

from contracts.schedules import CreateInput
from service.bus.client import NatsConnection
from service.rules.planning import SlotCache
from service.storage.engine import citus, clock
from service.storage.engine.acquire import acquired
from service.storage.records import outbox
from service.storage.schedules import sharded_changes, sharded_views, timer_sums
from service.worker.maintenance import MaintenanceSettings, RepairReport, repair
from service.worker.outbox_publisher import OutboxPublisher
from tests.rehearsal.rehearsal import serving
from tests.support.admin import operator
from tests.support.bus_service import a_client
from tests.support.command_line import command_line
from tests.support.eventually import eventually
from tests.support.host import Caller
from tests.support.measured_dispatcher import WRITTEN, MeasuredDispatcher
from tests.support.platform import TICK, install
from tests.support.responders import clients, host

TENANTS = [f"tenant-{n}" for n in range(12)]
HOURLY = {"endpoint": TICK[1], "cron": "0 * * * *"}


@pytest.fixture
def measured(pool: asyncpg.Pool) -> MeasuredDispatcher:
    nodes = citus.tenant_nodes(lambda: acquired(pool, 30.0))
    return MeasuredDispatcher(pool, together=True, sharded=True, node_of=nodes)


DISTRIBUTE_PLATFORM = """
ALTER TABLE tenant_extension_install DROP CONSTRAINT tenant_extension_install_pkey,
  ADD PRIMARY KEY (tenant_id, id);
ALTER TABLE tenant_extension_install_config DROP CONSTRAINT tenant_extension_install_config_pkey,
  DROP CONSTRAINT tenant_extension_install_config_install_id_key,
  ADD PRIMARY KEY (tenant_id, id);
SELECT create_reference_table(name)
FROM unnest(ARRAY ['extension_registry', 'extension_version', 'extension_bundle']) AS name;
SELECT create_distributed_table(name, 'tenant_id', colocate_with => 'tenant_extension_schedule')
FROM unnest(ARRAY ['tenant_extension_install', 'tenant_extension_install_config']) AS name;
"""


@pytest.fixture(params=["platform on the coordinator", "platform distributed"])
async def callers(
    pool: asyncpg.Pool, measured: MeasuredDispatcher, request: pytest.FixtureRequest
) -> list[Caller]:
    """Yield two installs of each tenant, in tables that the platform distributed or did not."""
    if request.param == "platform distributed":
        await pool.execute(DISTRIBUTE_PLATFORM)
    return [
        Caller(measured.dispatcher, await install(pool, tenant_id=tenant, materialised=TICK))
        for tenant in TENANTS * 2
    ]


@pytest.fixture
async def client(nats_url: str) -> AsyncIterator[NatsConnection]:
    async with a_client(nats_url) as client:
        yield client


async def count(pool: asyncpg.Pool, table: str) -> int:
    number: int = await pool.fetchval(f"SELECT count(*) FROM {table}")
    return number


async def test_creates_of_tenants_on_one_node_share_a_transaction(
    pool: asyncpg.Pool, measured: MeasuredDispatcher, callers: list[Caller]
) -> None:
    answers = await asyncio.gather(*(caller("create", **HOURLY) for caller in callers))
    assert all(answer["success"] for answer in answers), answers
    # Of two nodes, while the first of each lane wait for their node to be looked up.
    assert measured.statements[sharded_changes.NAMES] <= len(callers) / 2
    assert [await count(pool, table) for table in WRITTEN] == [len(callers)] * len(WRITTEN)
    lists = await asyncio.gather(*(caller("list") for caller in callers))
    shown = [listed["schedules"] for listed in lists]
    assert [len(schedules) for schedules in shown] == [1] * len(callers)
    assert all(schedule["nextRunAt"] for (schedule,) in shown)


async def test_a_schedule_is_changed_and_deleted(pool: asyncpg.Pool, callers: list[Caller]) -> None:
    caller = callers[0]
    id_ = (await caller("create", **HOURLY, name="one"))["scheduleId"]
    taken = await caller("create", **HOURLY, name="one")
    assert taken["code"] == "CONFLICT"
    assert (await caller("update", scheduleId=id_, cron="30 4 * * *"))["success"]
    shown = (await caller("get", scheduleId=id_))["schedule"]
    assert (shown["cron"], shown["revision"]) == ("30 4 * * *", 2)
    assert shown["nextRunAt"][11:19] == "04:30:00"
    assert (await caller("update", scheduleId=id_, enabled=False))["success"]
    assert await count(pool, "ext_scheduler.timers") == 0
    assert (await caller("delete", scheduleId=id_))["success"]
    assert (await caller("list"))["schedules"] == []
    assert await count(pool, "ext_scheduler.audit") == 4


@pytest.mark.parametrize(
    ("statement", "arguments"),
    [
        (sharded_changes.REPLAYS, (["t"], ["s"], [])),
        (sharded_changes.WINDOWS, (["t"], ["s"])),
        (sharded_changes.NAMES, (["t"], [], [])),
        (sharded_views.ROWS, (["t"], [], [], [], None)),
        (timer_sums.SCHEDULES, ()),
        (outbox.TAKE_OF_TENANTS, (10, ["t"])),
    ],
)
async def test_no_table_is_copied_between_nodes(
    pool: asyncpg.Pool, statement: str, arguments: tuple[Any, ...]
) -> None:
    plan = "\n".join(row[0] for row in await pool.fetch(f"EXPLAIN {statement}", *arguments))
    assert "Custom Scan (Citus Adaptive)" in plan
    assert "Distributed Subplan" not in plan


async def test_events_of_a_node_are_published_while_another_process_has_the_other_node(
    pool: asyncpg.Pool, client: NatsConnection, callers: list[Caller]
) -> None:
    heard: list[Msg] = []

    async def hear(message: Msg) -> None:
        heard.append(message)

    await client.subscribe("ext.scheduler.events.>", cb=hear)
    await asyncio.gather(*(caller("create", **HOURLY) for caller in callers))
    publisher = OutboxPublisher(pool, client, nodes_of=citus.tenants_by_node)
    async with pool.acquire() as other, other.transaction():
        nodes = await citus.tenants_by_node(other, TENANTS)
        first, second = sorted(nodes)
        assert await outbox.take_of_node(other, 100, first, nodes[first])
        assert await publisher.publish_batch() == 2 * len(nodes[second])
        await eventually(lambda: len(heard) == 2 * len(nodes[second]))
        assert {message.subject.split(".")[3] for message in heard} == set(nodes[second])
    assert await publisher.publish_batch() == 2 * len(nodes[first])
    assert await count(pool, "ext_scheduler.outbox") == 0


async def test_reconciliation_looks_at_the_tenants_that_differ(
    pool: asyncpg.Pool, measured: MeasuredDispatcher, callers: list[Caller]
) -> None:
    await asyncio.gather(*(caller("create", **HOURLY) for caller in callers))
    settings = MaintenanceSettings(sharded=True)
    async with pool.acquire() as connection:
        now = await clock.read(connection)
        assert await citus.is_distributed(connection)
        assert await timer_sums.differing_tenants(connection) == []
        await connection.execute(
            "DELETE FROM ext_scheduler.timers WHERE tenant_id = $1", TENANTS[0]
        )
        await connection.execute(
            "UPDATE tenant_extension_schedule SET enabled = false WHERE tenant_id = $1", TENANTS[1]
        )
        assert await timer_sums.differing_tenants(connection) == TENANTS[:2]
        everything = await operator(measured.dispatcher)("reconcile", dryRun=True)
        found = {each["kind"]: each["found"] for each in everything["inconsistencies"]}
        assert found == {"schedule_without_timer": 2, "timer_without_schedule": 2}
        repaired = await repair(connection, now, settings, SlotCache())
        assert repaired == RepairReport(timers_added=2, timers_removed=2)
        assert await timer_sums.differing_tenants(connection) == []


async def test_the_service_fires_a_schedule_and_publishes_its_events(
    pool: asyncpg.Pool, database: str, nats_url: str, tmp_path: Path
) -> None:
    command_line(tmp_path, nats_url)  # which writes the keys
    installed = await install(pool, materialised=TICK)
    async with serving(tmp_path, database, nats_url) as runner, clients(nats_url) as (client,):
        scheduler = host(client, installed)
        made = await scheduler.create(CreateInput(endpoint=TICK[1], cron="* * * * *"))
        assert made.schedule_id, made
        await eventually(lambda: runner.calls, within=150)
        (listed,) = (await scheduler.list()).schedules

        async def finished() -> bool:
            run = "SELECT status FROM ext_scheduler.runs ORDER BY slot LIMIT 1"
            left = "SELECT count(*) FROM ext_scheduler.outbox WHERE type = 'schedule.created'"
            return bool(await pool.fetchval(run) == "success" and not await pool.fetchval(left))

        await eventually(finished)
        assert listed.id == made.schedule_id
