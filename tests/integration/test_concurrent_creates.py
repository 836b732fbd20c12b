"""Many creates at once: exact limits, no caller held up by another, nothing half written."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from contracts.encoding import Encoding, encode
from contracts.errors import Code
from contracts.schedules import CreateOutput
from service.operations.context import Call, Policy
from service.operations.host.create_batch import create_batch as create_many
from service.rules.limits import Limits
from service.storage.platform import installs
from service.storage.schedules import create_batch
from tests.support.eventually import eventually
from tests.support.host import Caller
from tests.support.measured_dispatcher import WRITTEN, MeasuredDispatcher
from tests.support.platform import Installed, add_version, counts, install, waits_for_a_lock

HOURLY = {"endpoint": "/api/heartbeat", "cron": "0 * * * *"}
BODY = encode(HOURLY, Encoding.MSGPACK)
ENDPOINT = """
INSERT INTO extension_api_endpoint (version_id, method, path, handler)
VALUES ($1, 'POST', '/api/heartbeat', 'h')
"""
REFUSING = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN RAISE EXCEPTION 'planted'; END $$;
CREATE TRIGGER planted BEFORE INSERT ON ext_scheduler.outbox FOR EACH ROW
  WHEN (NEW.install_id = '{}') EXECUTE FUNCTION refuse();
"""
PER_INSTALL = """
SELECT count(s.id) AS schedules, count(t.schedule_id) AS timers
FROM tenant_extension_install i
LEFT JOIN tenant_extension_schedule s ON s.install_id = i.id
LEFT JOIN ext_scheduler.timers t ON t.schedule_id = s.id
GROUP BY i.id
"""


async def ready(pool: asyncpg.Pool, count: int) -> list[Installed]:
    """So many installs, each of its own tenant, whose endpoints are materialised."""
    made = [await install(pool, tenant_id=f"tenant-{n}") for n in range(count)]
    for each in made:
        await pool.execute(ENDPOINT, each.version_id)
    return made


def call(connection: Any, installed: Installed, jti: UUID | None = None) -> Call:
    """Return a verified create."""
    caller: Any = Caller(None, installed)  # type: ignore[arg-type]  # nothing is sent
    return Call(
        connection=connection,
        output=CreateOutput,
        claims=caller.claims("create", BODY, jti or uuid4()),
        raw=dict(HOURLY),
        policy=Policy(limits=Limits()),
    )


async def create(measured: MeasuredDispatcher, installed: Installed, **more: Any) -> dict[str, Any]:
    return await Caller(measured.dispatcher, installed)("create", **HOURLY, **more)


@pytest.mark.parametrize(
    ("limits", "refusal"),
    [
        (Limits(max_schedules=5, changes_per_minute=1000), "QUOTA_EXCEEDED"),
        (Limits(max_schedules=1000, changes_per_minute=5), "RATE_LIMITED"),
    ],
    ids=["quota", "rate"],
)
async def test_limits_are_exact_over_several_responders(
    pool: asyncpg.Pool, limits: Limits, refusal: str
) -> None:
    several = await ready(pool, 12)
    dispatchers = [MeasuredDispatcher(pool, together=True, limits=limits) for _ in range(3)]
    answers = await asyncio.gather(
        *(create(measured, each) for _ in range(4) for measured in dispatchers for each in several)
    )
    codes = [answer.get("code") for answer in answers]
    assert (codes.count(None), codes.count(refusal)) == (12 * 5, 12 * 7)
    rows = [tuple(row) for row in await pool.fetch(PER_INSTALL)]
    assert rows == [(5, 5)] * 12
    ids = {answer["scheduleId"] for answer in answers if answer["success"]}
    assert len(ids) == 12 * 5
    assert sum(measured.connections for measured in dispatchers) < len(answers)


async def test_a_jti_sent_twenty_times_among_others_creates_one_schedule(
    pool: asyncpg.Pool,
) -> None:
    several = await ready(pool, 8)
    dispatchers = [
        MeasuredDispatcher(pool, together=True, limits=Limits(changes_per_minute=1))
        for _ in range(4)
    ]
    jtis = [uuid4() for _ in several]
    replies = await asyncio.gather(
        *(
            Caller(measured.dispatcher, each).send("create", HOURLY, jti)
            for _ in range(5)
            for measured in dispatchers
            for each, jti in zip(several, jtis, strict=True)
        )
    )
    assert [reply.error for reply in replies] == [None] * 160
    assert len({reply.body for reply in replies}) == 8
    assert await counts(pool, *WRITTEN) == dict.fromkeys(WRITTEN, 8)


async def test_an_install_locked_by_another_session_delays_no_other_install(
    pool: asyncpg.Pool,
) -> None:
    several = await ready(pool, 6)
    measured = MeasuredDispatcher(pool, together=True)
    async with pool.acquire() as connection, connection.transaction():
        await installs.lock(connection, several[2].tenant_id, several[2].install_id)
        tasks = [asyncio.create_task(create(measured, each)) for each in several]
        held = tasks.pop(2)
        assert [answer["success"] for answer in await asyncio.gather(*tasks)] == [True] * 5
        await eventually(lambda: waits_for_a_lock(pool))
        assert not held.done()
    assert (await held)["success"] is True
    assert measured.statements[installs.LOCK] == 1


async def test_a_name_being_inserted_by_another_session_delays_no_other_create(
    pool: asyncpg.Pool,
) -> None:
    several = await ready(pool, 4)
    measured = MeasuredDispatcher(pool, together=True)
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(
            """INSERT INTO tenant_extension_schedule (install_id, tenant_id, name, cron)
               VALUES ($1, $2, 'wanted', '0 * * * *')""",
            several[0].install_id,
            several[0].tenant_id,
        )
        tasks = [asyncio.create_task(create(measured, each, name="wanted")) for each in several]
        wanting = tasks.pop(0)
        assert [answer["success"] for answer in await asyncio.gather(*tasks)] == [True] * 3
        await eventually(lambda: waits_for_a_lock(pool))
        assert not wanting.done()
    assert (await wanting)["code"] == "CONFLICT"


async def test_a_create_uses_the_version_that_its_install_was_moved_to(
    pool: asyncpg.Pool,
) -> None:
    several = await ready(pool, 3)
    version_id = uuid4()
    moved = several[1]
    await add_version(pool, moved.registry_id, version_id, declared=("cap:http.fetch",))
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(
            "UPDATE tenant_extension_install SET version_id = $2 WHERE id = $1",
            moved.install_id,
            version_id,
        )
        measured = MeasuredDispatcher(pool, together=True)
        tasks = [asyncio.create_task(create(measured, each)) for each in several]
        await eventually(lambda: waits_for_a_lock(pool))
    answers = await asyncio.gather(*tasks)
    assert [answer.get("code") for answer in answers] == [None, "DENIED", None]


async def test_a_failed_write_leaves_no_row_of_its_batch(pool: asyncpg.Pool) -> None:
    several = await ready(pool, 5)
    await pool.execute(REFUSING.format(several[3].install_id))
    async with pool.acquire() as connection:
        with pytest.raises(asyncpg.RaiseError, match="planted"):
            await create_many([call(connection, each) for each in several])
        assert await counts(pool, *WRITTEN) == dict.fromkeys(WRITTEN, 0)
        # The connection is as good as before, and so are the requests.
        await pool.execute("DROP TRIGGER planted ON ext_scheduler.outbox")
        outcomes = await create_many([call(connection, each) for each in several])
    assert [
        outcome is not None and isinstance(outcome.outcome, CreateOutput) for outcome in outcomes
    ] == [True] * 5
    assert await counts(pool, *WRITTEN) == dict.fromkeys(WRITTEN, 5)


async def test_a_create_that_cannot_be_written_fails_alone(pool: asyncpg.Pool) -> None:
    several = await ready(pool, 5)
    await pool.execute(REFUSING.format(several[3].install_id))
    measured = MeasuredDispatcher(pool, together=True)
    answers = await asyncio.gather(*(create(measured, each) for each in several))
    assert [answer.get("code") for answer in answers] == [None, None, None, Code.INTERNAL, None]
    assert await counts(pool, *WRITTEN) == dict.fromkeys(WRITTEN, 4)


async def test_a_batch_of_one_creates_its_schedule(pool: asyncpg.Pool) -> None:
    (only,) = await ready(pool, 1)
    async with pool.acquire() as connection:
        (outcome,) = await create_many([call(connection, only)])
    assert outcome is not None
    assert isinstance(outcome.outcome, CreateOutput)


async def test_the_lock_timeout_of_a_batch_ends_with_the_batch(pool: asyncpg.Pool) -> None:
    (only,) = await ready(pool, 1)
    async with pool.acquire() as connection:
        await connection.execute("SET lock_timeout = '7s'")
        async with connection.transaction():
            await create_batch.lock(connection, [only.tenant_id], [only.install_id])
            assert await connection.fetchval("SHOW lock_timeout") == create_batch.LOCK_TIMEOUT
        assert await connection.fetchval("SHOW lock_timeout") == "7s"
