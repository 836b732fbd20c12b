"""Instants, read and written as the driver does by itself."""

from datetime import UTC, datetime, timedelta, timezone

import asyncpg
import pytest

from service.storage.engine import instants

INSTANTS = [
    datetime(2026, 3, 29, 0, 30, tzinfo=UTC),
    datetime(1999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    datetime(1, 1, 1, 0, 0, 0, 1, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59, 59, 999_998, tzinfo=UTC),
    datetime(2026, 3, 29, 2, 30, 0, 1, tzinfo=timezone(timedelta(hours=5, minutes=45))),
]


async def test_instants_are_written_and_read_as_by_the_driver(pool: asyncpg.Pool) -> None:
    async with pool.acquire() as ours, pool.acquire() as drivers:
        as_text = "SELECT ($1::timestamptz[])::text[]"
        by_driver = await drivers.fetchval(as_text, INSTANTS)
        await instants.register(ours)
        assert await ours.fetchval(as_text, INSTANTS) == by_driver
        read = await ours.fetchval("SELECT $1::timestamptz[]", INSTANTS)
        assert read == await drivers.fetchval("SELECT $1::timestamptz[]", INSTANTS)
        assert {instant.utcoffset() for instant in read} == {timedelta(0)}


async def test_what_no_datetime_can_say_is_read_as_the_nearest(pool: asyncpg.Pool) -> None:
    async with pool.acquire() as connection:
        await instants.register(connection)
        row = await connection.fetchrow(
            "SELECT 'infinity'::timestamptz, '-infinity'::timestamptz, '20000-01-01'::timestamptz"
        )
    assert row is not None
    assert tuple(row) == (instants.LATEST, instants.EARLIEST, instants.LATEST)


async def test_an_instant_without_a_zone_is_refused(pool: asyncpg.Pool) -> None:
    async with pool.acquire() as connection:
        await instants.register(connection)
        with pytest.raises(asyncpg.DataError):
            await connection.fetchval("SELECT $1::timestamptz", datetime(2026, 3, 29))  # noqa: DTZ001 - what is refused
