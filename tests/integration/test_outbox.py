"""Committed events reach the bus, at least once, whatever happens on the way."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from uuid import UUID, uuid4

import asyncpg
import msgspec
import pytest
from nats.aio.msg import Msg

from devstack.embedded import Nats
from service.bus.client import NatsConnection
from service.storage.engine.connection import Connection
from service.storage.records import outbox
from service.worker.outbox_publisher import NodesOf, OutboxPublisher, OutboxPublisherSettings
from tests.support.bus_service import a_client
from tests.support.eventually import eventually

INSTALL = UUID("00000000-0000-0000-0000-000000000001")


@pytest.fixture
async def client(nats_url: str) -> AsyncIterator[NatsConnection]:
    forever = {"max_reconnect_attempts": -1, "reconnect_time_wait": 1}
    async with a_client(nats_url, **forever) as client:
        yield client


@pytest.fixture
async def heard(client: NatsConnection) -> list[Msg]:
    messages: list[Msg] = []

    async def hear(message: Msg) -> None:
        messages.append(message)

    await client.subscribe("ext.scheduler.events.>", cb=hear)
    await client.flush()
    return messages


async def leave(pool: asyncpg.Pool, count: int = 1, tenant_id: str = "tenant-a") -> None:
    await pool.execute(
        "INSERT INTO ext_scheduler.outbox (tenant_id, install_id, schedule_id, run_id, type, at,"
        " data) SELECT $1, $2, $3, $3, 'run.failed', '2026-03-02T12:00:00.5Z',"
        " jsonb_build_object('n', n) FROM generate_series(1, $4::integer) AS n",
        tenant_id,
        INSTALL,
        uuid4(),
        count,
    )


async def leave_one(pool: asyncpg.Pool, **columns: str) -> None:
    row = {"tenant_id": "tenant-a", "type": "run.failed", **columns}
    await pool.execute(
        "INSERT INTO ext_scheduler.outbox (tenant_id, install_id, type, at, data)"
        " VALUES ($1, $2, $3, now(), '{}')",
        row["tenant_id"],
        INSTALL,
        row["type"],
    )


async def left(pool: asyncpg.Pool) -> int:
    count: int = await pool.fetchval("SELECT count(*) FROM ext_scheduler.outbox")
    return count


async def test_a_published_event_is_removed(
    pool: asyncpg.Pool, client: NatsConnection, heard: list[Msg]
) -> None:
    await leave(pool)
    assert await OutboxPublisher(pool, client).publish_batch() == 1
    await eventually(lambda: heard)
    assert heard[0].subject == f"ext.scheduler.events.tenant-a.{INSTALL}.run.failed"
    event = msgspec.json.decode(heard[0].data)
    assert len(event.pop("id")) == 36
    assert event.pop("scheduleId") == event.pop("runId")
    assert event == {
        "type": "run.failed",
        "tenantId": "tenant-a",
        "installId": str(INSTALL),
        "at": "2026-03-02T12:00:00.500Z",
        "data": {"n": 1},
    }
    assert await left(pool) == 0


async def test_events_are_published_in_commit_order(
    pool: asyncpg.Pool, client: NatsConnection, heard: list[Msg]
) -> None:
    await leave(pool, 25)
    publisher = OutboxPublisher(pool, client, OutboxPublisherSettings(batch=10))
    assert [await publisher.publish_batch() for _ in range(4)] == [10, 10, 5, 0]
    await eventually(lambda: len(heard) == 25)
    numbers = [msgspec.json.decode(message.data)["data"]["n"] for message in heard]
    assert numbers == list(range(1, 26))


async def two_nodes(_: Connection, tenant_ids: Sequence[str]) -> Mapping[int, list[str]]:
    """Put every other tenant on the same node."""
    nodes: dict[int, list[str]] = {}
    for tenant_id in tenant_ids:
        nodes.setdefault(ord(tenant_id[-1]) % 2, []).append(tenant_id)
    return nodes


@pytest.mark.parametrize("nodes_of", [None, two_nodes], ids=["one node", "several nodes"])
async def test_concurrent_publishers_publish_each_event_once(
    pool: asyncpg.Pool, client: NatsConnection, heard: list[Msg], nodes_of: NodesOf | None
) -> None:
    for tenant_id in ("tenant-a", "tenant-b", "tenant-c", "tenant-d"):
        await leave(pool, 25, tenant_id)
    settings = OutboxPublisherSettings(batch=10)
    publishers = [OutboxPublisher(pool, client, settings, nodes_of) for _ in range(4)]
    while await left(pool):
        await asyncio.gather(*(publisher.publish_batch() for publisher in publishers))
    await eventually(lambda: len(heard) == 100)
    assert len({message.data for message in heard}) == 100


async def test_a_node_whose_events_another_process_publishes_does_not_hold_up_the_others(
    pool: asyncpg.Pool, client: NatsConnection, heard: list[Msg]
) -> None:
    for tenant_id in ("tenant-a", "tenant-b", "tenant-c"):
        await leave(pool, 3, tenant_id)
    publisher = OutboxPublisher(pool, client, nodes_of=two_nodes)
    async with pool.acquire() as other, other.transaction():
        taken = await outbox.take_of_node(other, 10, 1, ["tenant-a", "tenant-c"])
        assert len(taken) == 6
        assert await publisher.publish_batch() == 3
        await eventually(lambda: len(heard) == 3)
        assert {message.subject.split(".")[3] for message in heard} == {"tenant-b"}
    assert await publisher.publish_batch() == 6
    assert await left(pool) == 0


def has(heard: list[Msg], count: int) -> bool:
    return len(heard) == count


async def test_wake_wakes_the_publisher(
    pool: asyncpg.Pool, client: NatsConnection, heard: list[Msg]
) -> None:
    publisher = OutboxPublisher(pool, client, OutboxPublisherSettings(poll_s=3600))
    stopping = asyncio.Event()
    task = asyncio.create_task(publisher.run(stopping))
    for number in range(1, 4):
        await leave(pool)
        publisher.wake()
        await eventually(partial(has, heard, number))
    stopping.set()
    await task


async def test_events_of_other_processes_are_found_by_polling(
    pool: asyncpg.Pool, client: NatsConnection, heard: list[Msg]
) -> None:
    stopping = asyncio.Event()
    task = asyncio.create_task(
        OutboxPublisher(pool, client, OutboxPublisherSettings(poll_s=0.05)).run(stopping)
    )
    await leave(pool)
    await eventually(lambda: heard)
    stopping.set()
    await task


async def test_events_wait_for_the_bus_to_come_back(
    pool: asyncpg.Pool, nats_server: Nats, client: NatsConnection, heard: list[Msg]
) -> None:
    stopping = asyncio.Event()
    task = asyncio.create_task(
        OutboxPublisher(pool, client, OutboxPublisherSettings(poll_s=0.05)).run(stopping)
    )
    nats_server.server.kill()
    await eventually(lambda: not client.is_connected)
    await leave(pool, 3)
    assert await OutboxPublisher(pool, client).publish_batch() == 0
    assert await left(pool) == 3
    nats_server.server.start()
    await eventually(lambda: len(heard) >= 3)
    stopping.set()
    await task
    assert await left(pool) == 0


async def test_last_events_are_published_at_shutdown(
    pool: asyncpg.Pool, client: NatsConnection, heard: list[Msg]
) -> None:
    stopping = asyncio.Event()
    task = asyncio.create_task(
        OutboxPublisher(pool, client, OutboxPublisherSettings(poll_s=3600)).run(stopping)
    )
    await leave(pool)
    stopping.set()
    await task
    assert await left(pool) == 0
    await eventually(lambda: heard)


async def test_a_tenant_id_that_is_no_subject_token_is_encoded(
    pool: asyncpg.Pool, client: NatsConnection, heard: list[Msg]
) -> None:
    await leave(pool, tenant_id="a.b>*")
    await OutboxPublisher(pool, client).publish_batch()
    await eventually(lambda: heard)
    assert heard[0].subject.split(".")[3] == "~YS5iPio"
    assert msgspec.json.decode(heard[0].data)["tenantId"] == "a.b>*"


UNPUBLISHABLE = [{"tenant_id": ""}, {"type": ""}, {"type": "run. >"}]


@pytest.mark.parametrize("columns", UNPUBLISHABLE)
async def test_an_unpublishable_event_does_not_block_the_others(
    pool: asyncpg.Pool,
    client: NatsConnection,
    heard: list[Msg],
    caplog: pytest.LogCaptureFixture,
    columns: dict[str, str],
) -> None:
    await leave(pool)
    await leave_one(pool, **columns)
    await leave(pool)
    id_ = await pool.fetchval("SELECT id FROM ext_scheduler.outbox ORDER BY sequence OFFSET 1")
    assert await OutboxPublisher(pool, client).publish_batch() == 3
    await eventually(lambda: len(heard) == 2)
    assert await left(pool) == 0
    (record,) = (each for each in caplog.records if each.levelname == "ERROR")
    assert str(id_) in str(vars(record))


async def test_an_event_of_an_unknown_type_is_published_unchanged(
    pool: asyncpg.Pool, client: NatsConnection, heard: list[Msg]
) -> None:
    await leave_one(pool, type="run.skipped")
    await OutboxPublisher(pool, client).publish_batch()
    await eventually(lambda: heard)
    assert heard[0].subject == f"ext.scheduler.events.tenant-a.{INSTALL}.run.skipped"
    assert msgspec.json.decode(heard[0].data)["type"] == "run.skipped"


@pytest.mark.parametrize("tenant_id", ["x" * 4_000, "é" * 2_000])
async def test_an_event_with_too_long_a_subject_holds_up_no_other(
    pool: asyncpg.Pool, client: NatsConnection, heard: list[Msg], tenant_id: str
) -> None:
    await leave_one(pool, tenant_id=tenant_id)
    await leave(pool, 3)
    assert await OutboxPublisher(pool, client).publish_batch() == 4
    await eventually(lambda: len(heard) == 3)
    assert await left(pool) == 0
    assert client.stats["reconnects"] == 0
