"""A pool of the tests ends though a connection does not come back to it, and says who has it."""

import asyncio

import asyncpg
import pytest

from tests.support.eventually import eventually
from tests.support.pools import HeldConnectionWarning, close, pool_of


async def hold_on(pool: asyncpg.Pool) -> None:
    async with pool.acquire():
        await asyncio.Event().wait()


async def test_who_holds_a_connection_of_a_pool_that_cannot_close_is_told(database: str) -> None:
    pool = await asyncpg.create_pool(database, min_size=1, max_size=2)
    holding = asyncio.create_task(hold_on(pool), name="the holder")
    await eventually(lambda: pool.get_idle_size() < pool.get_size())
    with pytest.warns(HeldConnectionWarning, match=r"1 of 1 connections") as warned:
        await close(pool, 0.1)
    assert "the holder\n" in str(warned[0].message)
    assert "test_pools.py:14 hold_on" in str(warned[0].message)
    assert pool.is_closing()
    holding.cancel()
    await asyncio.wait([holding])


async def test_a_pool_that_closes_warns_of_nothing(database: str) -> None:
    async with pool_of(database, min_size=1, max_size=2) as pool:
        assert await pool.fetchval("SELECT 1") == 1
    assert pool.is_closing()
