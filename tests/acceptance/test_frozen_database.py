"""A responder that does not reach the database leaves its share to those that do."""

from pathlib import Path

import asyncpg

from tests.support.eventually import eventually
from tests.support.platform import install
from tests.support.relay import relayed
from tests.support.responders import clients, responders
from tests.support.trouble import listed, metric, once, shown

LISTED = 'extension_scheduler_api_calls_total{operation="list",status="ok"}'


async def test_a_responder_with_a_frozen_database_leaves_its_share_to_the_others(
    tmp_path: Path, database: str, pool: asyncpg.Pool, nats_url: str
) -> None:
    installed = await install(pool)
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    async with (
        relayed(database) as (url, relay),
        responders(1, tmp_path / "one", url, nats_url) as (one,),
        responders(1, tmp_path / "other", database, nats_url) as (other,),
        clients(nats_url) as (client,),
    ):
        asking = once(client, installed)
        relay.flowing.clear()
        await eventually(lambda: shown(one, 503, bus=True, database=False))
        await eventually(lambda: left(one.log))
        before = await metric(one, LISTED)
        assert [await listed(asking) for _ in range(30)] == ["listed"] * 30
        assert await metric(one, LISTED) == before
        relay.flowing.set()

        async def shares() -> bool:
            assert await listed(asking) == "listed"
            return await metric(one, LISTED) > before

        await eventually(shares)
        await eventually(lambda: shown(one, 200))
        assert await metric(other, LISTED) > 0


async def test_responders_that_all_lost_the_database_answer_that_they_are_unavailable(
    tmp_path: Path, database: str, pool: asyncpg.Pool, nats_url: str
) -> None:
    installed = await install(pool)
    async with (
        relayed(database) as (url, relay),
        responders(2, tmp_path, url, nats_url) as both,
        clients(nats_url) as (client,),
    ):
        asking = once(client, installed)
        relay.flowing.clear()
        await eventually(lambda: shown(both[0], 503, bus=True, database=False))
        await eventually(lambda: shown(both[1], 503, bus=True, database=False))
        # A responder that has the database answers a ping otherwise, so none of them leaves.
        assert [await listed(asking) for _ in range(10)] == ["UNAVAILABLE"] * 10
        assert not any(left(each.log) for each in both)
        relay.flowing.set()
        await eventually(lambda: shown(both[0], 200))
        await eventually(lambda: shown(both[1], 200))
        assert await listed(asking) == "listed"


def left(log: Path) -> bool:
    """Return whether the responder has said that it did."""
    return "left the queue group" in log.read_text()
