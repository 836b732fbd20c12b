"""What a worker says when one of its loops has ended."""

import asyncio

import asyncpg

from service.worker.worker import _reason


async def ended_by(error: Exception) -> str:
    async def loop() -> None:
        raise error

    task = asyncio.create_task(loop(), name="queue")
    await asyncio.wait({task})
    return _reason(task)


async def test_a_lost_database_is_reported_in_one_line() -> None:
    lost = asyncpg.InterfaceError("connection has been released back to the pool")
    assert await ended_by(lost) == (
        "the database is lost to the queue loop: connection has been released back to the pool"
    )


async def test_an_error_without_text_is_reported_by_its_class() -> None:
    assert await ended_by(TimeoutError()) == "the database is lost to the queue loop: TimeoutError"


async def test_message_of_a_lost_connection_hides_inner_states_of_the_driver() -> None:
    inner = asyncpg.InternalClientError("cannot switch to state 12; another operation (2) is ...")
    assert await ended_by(inner) == (
        "the database is lost to the queue loop: the connection ended during an operation"
    )


async def test_an_unexpected_error_is_reported_with_its_class() -> None:
    assert await ended_by(KeyError("x")) == "the queue loop ended: KeyError('x')"
