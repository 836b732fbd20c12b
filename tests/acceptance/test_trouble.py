"""PostgreSQL or NATS away, frozen and back: what callers are answered, and that nothing is lost."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import asyncpg
import pytest

from devstack.embedded import Nats, Postgres, embedded_postgres
from devstack.embedded.servers import Server
from service.storage.engine.migrate import migrate
from tests.support.eventually import eventually
from tests.support.platform import counts, install
from tests.support.pools import pool_of
from tests.support.responders import PATIENT, clients, responders
from tests.support.trouble import (
    SOON_S,
    created,
    frozen_backends,
    frozen_server,
    listed,
    locked,
    once,
    shown,
    waiting_for_locks,
)


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[Postgres]:
    """Yield a PostgreSQL server of the test's own, which it may kill."""
    with embedded_postgres(durable=True) as server:
        yield server


@pytest.fixture
async def own_pool(mortal: Postgres) -> AsyncIterator[asyncpg.Pool]:
    """Yield the connections of the test to that server, migrated."""
    async with pool_of(mortal.dsn, min_size=0, max_size=4) as pool:
        async with pool.acquire() as connection:
            await migrate(connection)
        yield pool


@pytest.mark.parametrize("end", [Server.kill, Server.stop], ids=["killed", "stopped"])
async def test_callers_get_unavailable_at_once_without_postgres_and_answers_after_its_return(
    tmp_path: Path,
    mortal: Postgres,
    own_pool: asyncpg.Pool,
    nats_url: str,
    end: Callable[[Server], None],
) -> None:
    installed = await install(own_pool)
    async with (
        responders(1, tmp_path, mortal.dsn, nats_url, **PATIENT) as (process,),
        clients(nats_url) as (client,),
    ):
        scheduler = once(client, installed)
        assert [await created(scheduler), await listed(scheduler)] == ["created", "listed"]
        await asyncio.to_thread(end, mortal.server)
        async with asyncio.timeout(SOON_S):
            asked = [*(listed(scheduler) for _ in range(30)), created(scheduler)]
            assert await asyncio.gather(*asked) == ["UNAVAILABLE"] * 31
        await eventually(lambda: shown(process, 503, bus=True, database=False))
        await asyncio.to_thread(mortal.server.start)

        async def recovered() -> bool:
            return [await listed(scheduler), await created(scheduler)] == ["listed", "created"]

        await eventually(recovered)
        await eventually(lambda: shown(process, 200))
        assert process.popen.poll() is None


IMPATIENT = {
    **dict.fromkeys(PATIENT, "5000"),  # sooner than anybody else gives up; a server at work is not
    "pool_size": "4",
}


async def test_connections_to_a_frozen_postgres_are_dropped_and_the_pool_recovers(
    tmp_path: Path, mortal: Postgres, own_pool: asyncpg.Pool, nats_url: str
) -> None:
    installed = await install(own_pool)
    async with (
        responders(1, tmp_path, mortal.dsn, nats_url, **IMPATIENT) as (process,),
        clients(nats_url) as (client,),
    ):
        scheduler = once(client, installed)
        assert await listed(scheduler) == "listed"
        with frozen_server(mortal):
            async with asyncio.timeout(SOON_S):
                asked = [created(scheduler), *(listed(scheduler) for _ in range(8))]
                assert set(await asyncio.gather(*asked)) == {"UNAVAILABLE"}
            await eventually(lambda: shown(process, 503, database=False))

        async def recovered() -> bool:
            return await listed(scheduler) == "listed"

        await eventually(recovered)
        assert await created(scheduler) == "created"
        await eventually(lambda: shown(process, 200))


async def test_one_timeout_on_a_frozen_connection_replaces_the_whole_pool(
    tmp_path: Path, mortal: Postgres, own_pool: asyncpg.Pool, nats_url: str
) -> None:
    installed = await install(own_pool)
    async with (
        responders(1, tmp_path, mortal.dsn, nats_url, **IMPATIENT) as (process,),
        clients(nats_url) as (client,),
    ):
        scheduler = once(client, installed)
        # Enough of them at once to have all the connections made.
        asked = [created(scheduler), *(listed(scheduler) for _ in range(30))]
        assert set(await asyncio.gather(*asked)) == {"created", "listed"}
        async with frozen_backends(own_pool):
            async with asyncio.timeout(SOON_S):
                assert await listed(scheduler) == "UNAVAILABLE"
            asked = [created(scheduler), listed(scheduler)]
            assert await asyncio.gather(*asked) == ["created", "listed"]
        await eventually(lambda: shown(process, 200))
        assert "exception was never retrieved" not in process.log.read_text()


async def test_the_service_survives_an_outage_of_nats(
    tmp_path: Path, database: str, pool: asyncpg.Pool, nats_server: Nats
) -> None:
    installed = await install(pool)
    async with (
        responders(1, tmp_path, database, nats_server.url, **PATIENT) as (process,),
        clients(nats_server.url) as (client,),
    ):
        scheduler, asking = once(client, installed), once(client, installed, within=5.0)
        async with locked(pool, installed.install_id):
            in_hand = asyncio.create_task(created(scheduler))
            await eventually(lambda: waiting_for_locks(pool))
            await asyncio.to_thread(nats_server.server.kill)
            await eventually(lambda: shown(process, 503, database=True, bus=False))
        # Running work is completed, though its caller may no longer wait for the answer.
        await eventually(lambda: has_one_schedule(pool))
        in_hand.cancel()
        await asyncio.to_thread(nats_server.server.start)

        async def recovered() -> bool:
            return await shown(process, 200) and await listed(asking) == "listed"

        await eventually(recovered)
        assert process.popen.poll() is None


async def has_one_schedule(pool: asyncpg.Pool) -> bool:
    table = "tenant_extension_schedule"
    return await counts(pool, table) == {table: 1}
