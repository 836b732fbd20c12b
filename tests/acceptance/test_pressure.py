"""Overload: who is refused at once, who is not held up, and which requests no caller waits for."""

import asyncio
from pathlib import Path
from uuid import UUID

import asyncpg

from contracts.encoding import Encoding, decode_map
from contracts.schedules import CreateInput
from tests.support.eventually import eventually
from tests.support.platform import counts, install
from tests.support.responders import PATIENT, clients, responders
from tests.support.trouble import (
    SOON_S,
    created,
    listed,
    locked,
    metric,
    once,
    waiting_for_locks,
)
from tests.support.wire_client import a_wire_client, signed

SCHEDULES = "tenant_extension_schedule"
DROPPED = 'extension_scheduler_messages_dropped_total{reason="%s"}'
UNLIMITED = {"changes_per_minute": "1000000"}


async def test_a_full_queue_refuses_at_once_and_answers_accepted_requests(
    tmp_path: Path, database: str, pool: asyncpg.Pool, nats_url: str
) -> None:
    held, other = await install(pool), await install(pool)
    narrow = {**PATIENT, "concurrency": "1", "waiting": "1"}
    async with (
        responders(1, tmp_path, database, nats_url, **narrow) as (process,),
        clients(nats_url) as (client,),
    ):
        async with locked(pool, held.install_id):
            running = asyncio.create_task(created(once(client, held)))
            await eventually(lambda: waiting_for_locks(pool))
            asked = [asyncio.create_task(listed(once(client, other))) for _ in range(20)]
            async with asyncio.timeout(SOON_S):
                refused = [await each for each in asked[1:]]
            assert refused == ["UNAVAILABLE"] * 19
            assert await metric(process, DROPPED % "queue_full") == 19
            assert not running.done()
        assert [await running, await asked[0]] == ["created", "listed"]
        assert await listed(once(client, other)) == "listed"


async def test_a_row_lock_held_too_long_ends_the_wait_without_a_change(
    tmp_path: Path, database: str, pool: asyncpg.Pool, nats_url: str
) -> None:
    installed = await install(pool)
    settings = {**PATIENT, "lock_timeout_ms": "300"}
    async with (
        responders(1, tmp_path, database, nats_url, **settings),
        clients(nats_url) as (client,),
    ):
        scheduler = once(client, installed)
        async with locked(pool, installed.install_id), asyncio.timeout(SOON_S):
            assert await created(scheduler) == "UNAVAILABLE"
        assert await counts(pool, SCHEDULES) == {SCHEDULES: 0}
        assert await created(scheduler) == "created"


async def test_a_slow_request_holds_up_no_other(
    tmp_path: Path, database: str, pool: asyncpg.Pool, nats_url: str
) -> None:
    slow, other = await install(pool), await install(pool)
    async with (
        responders(1, tmp_path, database, nats_url, **PATIENT),
        clients(nats_url) as (client,),
        locked(pool, slow.install_id),
    ):
        waiting = asyncio.create_task(created(once(client, slow)))
        await eventually(lambda: waiting_for_locks(pool))
        assert await listed(once(client, slow)) == "listed"
        assert await created(once(client, other)) == "created"
        assert not waiting.done()
        waiting.cancel()


async def test_one_installs_flood_starves_no_other(
    tmp_path: Path, database: str, pool: asyncpg.Pool, nats_url: str
) -> None:
    flooding, other = await install(pool), await install(pool)
    async with (
        responders(1, tmp_path, database, nats_url, **PATIENT, **UNLIMITED),
        clients(nats_url, 2) as (flooder, client),
    ):
        async with locked(pool, flooding.install_id):
            flood = [asyncio.create_task(created(once(flooder, flooding))) for _ in range(200)]
            await eventually(lambda: waiting_for_locks(pool))
            async with asyncio.timeout(SOON_S):
                assert await created(once(client, other)) == "created"
                assert await listed(once(client, other)) == "listed"
                assert await listed(once(client, flooding)) == "listed"
            assert not any(each.done() for each in flood)
        outcomes = await asyncio.gather(*flood)
    assert outcomes.count("created") == 50
    assert outcomes.count("QUOTA_EXCEEDED") == 150


async def test_requests_of_callers_that_timed_out_are_not_executed(
    tmp_path: Path, database: str, pool: asyncpg.Pool, nats_url: str
) -> None:
    slow, other = await install(pool), await install(pool)
    async with (
        responders(1, tmp_path, database, nats_url, **PATIENT, concurrency="1") as (process,),
        clients(nats_url) as (client,),
    ):
        async with locked(pool, slow.install_id):
            running = asyncio.create_task(created(once(client, slow)))
            await eventually(lambda: waiting_for_locks(pool))
            # Each gives up after so long, and says so in its deadline.
            impatient = [created(once(client, other, within=0.2)) for _ in range(5)]
            assert await asyncio.gather(*impatient) == ["UNAVAILABLE"] * 5
        assert await running == "created"

        async def five_were_dropped() -> bool:
            return await metric(process, DROPPED % "deadline_passed") == 5

        await eventually(five_were_dropped)
        assert await listed(once(client, other)) == "listed"
    assert await counts(pool, SCHEDULES) == {SCHEDULES: 1}


async def test_requests_that_time_out_waiting_for_their_install_are_not_executed(
    tmp_path: Path, database: str, pool: asyncpg.Pool, nats_url: str
) -> None:
    busy = await install(pool)
    async with (
        responders(1, tmp_path, database, nats_url, **PATIENT, changes_per_install="1"),
        clients(nats_url) as (client,),
    ):
        async with locked(pool, busy.install_id):
            running = asyncio.create_task(created(once(client, busy)))
            await eventually(lambda: waiting_for_locks(pool))
            impatient = [created(once(client, busy, within=0.2)) for _ in range(3)]
            assert await asyncio.gather(*impatient) == ["UNAVAILABLE"] * 3
        assert await running == "created"
        # Behind them in the same line: once it is through, so are they.
        assert await created(once(client, busy)) == "created"
    assert await counts(pool, SCHEDULES) == {SCHEDULES: 2}


async def test_concurrent_requests_each_get_their_own_answer(
    tmp_path: Path, database: str, pool: asyncpg.Pool, nats_url: str
) -> None:
    installs = [await install(pool, tenant_id=f"tenant-{number}") for number in range(10)]
    async with (
        responders(2, tmp_path, database, nats_url, **PATIENT, **UNLIMITED),
        a_wire_client(nats_url) as client,
    ):

        async def ask(number: int, op: str, fields: object) -> dict[str, object]:
            encoding = tuple(Encoding)[number % 2]
            jti = UUID(int=number)
            secret = b"X-Secret: of-%d" % number
            subject, headers, body = signed(
                op, fields, installs[number % 10], encoding, jti, secret
            )
            reply = await client.request(subject, headers, body)
            assert dict(reply.headers) == {
                "Content-Type": encoding.value,
                "Ext-Request-Id": str(jti),
            }
            assert b"of-" not in reply.body
            return decode_map(reply.body, encoding)

        async def create_and_see(number: int) -> None:
            name = f"name-{number}"
            fields = CreateInput(
                endpoint="/api/both", cron="0 * * * *", name=name, payload={"n": number}
            )
            answer = await ask(number, "create", fields)
            shown = await ask(number + 1000, "get", {"scheduleId": answer["scheduleId"]})
            schedule = shown["schedule"]
            assert isinstance(schedule, dict)
            assert (schedule["name"], schedule["payload"]) == (name, {"n": number})

        await asyncio.gather(*(create_and_see(number) for number in range(400)))
