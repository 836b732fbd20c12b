"""Defaults of a database or a role do not reach our sessions: they would change what we do."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from service.rules.limits import Limits
from service.storage.engine.connect import SessionSettings, connect, session_defaults
from service.storage.engine.migrate import migrate
from service.storage.engine.pool import PoolSettings, open_pool
from tests.support.firing_stack import firing_stack
from tests.support.host import Caller, dispatcher
from tests.support.platform import install

HOSTILE = {
    "default_transaction_isolation": "repeatable read",
    "default_transaction_deferrable": "on",
    "idle_session_timeout": "500ms",
    "transaction_timeout": "500ms",
    "idle_in_transaction_session_timeout": "500ms",
    "lock_timeout": "1ms",
    "search_path": "ext_scheduler, pg_catalog",
    "timezone": "America/St_Johns",
    "datestyle": "German, DMY",
    "intervalstyle": "sql_standard",
    "bytea_output": "escape",
    "client_encoding": "latin1",
    "standard_conforming_strings": "off",
    "quote_all_identifiers": "on",
    "transform_null_equals": "on",
    "array_nulls": "off",
    "synchronous_commit": "off",
    "jit": "on",
    "jit_above_cost": "0",
    "plan_cache_mode": "force_custom_plan",
    "enable_indexscan": "off",
    "enable_bitmapscan": "off",
    "enable_nestloop": "off",
    "enable_hashagg": "off",
}
KNOWN = "SELECT lower(name) AS name FROM pg_settings"
SESSION = SessionSettings("test", lock_timeout_ms=5_000, statement_timeout_ms=15_000)


def alter(database: str, setting: str) -> str:
    """Return the statement that gives a database one of the defaults."""
    value = HOSTILE[setting]
    name = database.rpartition("/")[2]
    listed = value if setting == "search_path" else f"'{value}'"
    return f"ALTER DATABASE {name} SET {setting} = {listed}"


@pytest.fixture
async def hostile(database: str) -> str:
    """Yield the DSN of a migrated database with all of these defaults that its release has."""
    connection = await asyncpg.connect(database)
    known = {row["name"] for row in await connection.fetch(KNOWN)}
    for setting in known & HOSTILE.keys():
        await connection.execute(alter(database, setting))
    await connection.close()
    return database


@pytest.fixture
async def own_pool(hostile: str) -> AsyncIterator[asyncpg.Pool]:
    """Yield a pool as a process opens it."""
    settings = PoolSettings(hostile, 8, "test", 5_000, 15_000, 256)
    async with await open_pool(settings) as pool:
        yield pool


async def test_no_default_of_a_database_reaches_a_session(
    hostile: str, own_pool: asyncpg.Pool
) -> None:
    alone = await connect(hostile, SESSION)
    for connection in (alone, own_pool):
        wanted = session_defaults(SESSION)
        for name, value in wanted.items():
            shown = await connection.fetchval("SELECT current_setting($1, true)", name)
            if shown is not None:
                same = "SELECT set_config($1, $2, true)"
                assert shown == await connection.fetchval(same, name, value), name
        assert await connection.fetchval("SELECT current_setting('synchronous_commit')") == "on"
        assert await connection.fetchval("SELECT current_setting('client_encoding')") == "UTF8"
    await alone.close()


async def test_a_quota_is_exact_under_hostile_defaults(hostile: str) -> None:
    # Two hundred wait for one row: who is impatient would be told that the service is busy.
    settings = PoolSettings(hostile, 8, "test", 60_000, 60_000, 256)
    async with await open_pool(settings) as pool:
        await hold_quota(pool)


async def hold_quota(own_pool: asyncpg.Pool) -> None:
    """Ask for four times as many schedules as an install may have, all at once."""
    installed = await install(own_pool)
    served = [dispatcher(own_pool, Limits(changes_per_minute=1_000)) for _ in range(4)]
    hourly = {"endpoint": "/api/heartbeat", "cron": "0 * * * *"}
    answers = await asyncio.gather(
        *(Caller(served[n % 4], installed)("create", **hourly) for n in range(200))
    )
    codes = [answer.get("code") for answer in answers]
    assert (codes.count(None), codes.count("QUOTA_EXCEEDED")) == (50, 150)
    assert await own_pool.fetchval("SELECT count(*) FROM tenant_extension_schedule") == 50


async def test_a_schedule_is_fired_under_hostile_defaults(
    own_pool: asyncpg.Pool, nats_url: str
) -> None:
    async with firing_stack(own_pool, nats_url) as stack:
        job = await stack.planned()
        await stack.executor.execute(job)
        assert (await stack.run(job))["status"] == "success"


async def test_migrations_are_applied_under_hostile_defaults(
    empty_database: str,
) -> None:
    connection = await asyncpg.connect(empty_database)
    for setting in ("search_path", "default_transaction_isolation", "quote_all_identifiers"):
        await connection.execute(alter(empty_database, setting))
    await connection.close()
    own = await connect(empty_database, SessionSettings("test"))
    assert await migrate(own)
    assert await own.fetchval("SELECT to_regclass('public.tenant_extension_schedule')")
    await own.close()
