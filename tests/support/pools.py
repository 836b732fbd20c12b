"""Pools whose end no connection can hold up: who has it is said, and it is taken away."""

import asyncio
import types
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

CLOSE_TIMEOUT_S = 30.0
"""Far more than a pool needs to close on a busy machine, and far less than a test may take."""


class HeldConnectionWarning(UserWarning):
    """A pool had to be ended because a connection did not come back to it."""


@asynccontextmanager
async def pool_of(dsn: str, **options: Any) -> AsyncIterator[asyncpg.Pool]:
    """Yield a pool, closed afterwards with a bound, as ``close`` does."""
    # With a timeout, as the service's pools have: without one the driver waits for ever for the end
    # of a statement that it has cancelled, and closing the pool waits with it.
    pool = await asyncpg.create_pool(dsn, **{"command_timeout": 60, **options})
    try:
        yield pool
    finally:
        await close(pool)


async def close(pool: asyncpg.Pool, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
    """Close a pool; end it where it does not close, and warn with what every task waits for.

    That says more than a test that hangs in its last line until it is killed.
    """
    closing = asyncio.create_task(pool.close())
    try:
        await asyncio.wait([closing], timeout=timeout_s)
        if not closing.done():
            _warn(f"{_held(pool)} did not come back to their pool in {timeout_s} s:\n{stacks()}")
    finally:
        pool.terminate()  # does nothing to a pool that is closed
        closing.cancel()
        await asyncio.wait([closing])
    if not closing.cancelled():
        closing.result()


def _held(pool: asyncpg.Pool) -> str:
    return f"{pool.get_size() - pool.get_idle_size()} of {pool.get_size()} connections"


def _warn(text: str) -> None:
    """Show a warning at the end of the test run, where all others fail the test."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", HeldConnectionWarning)
        warnings.warn(text, HeldConnectionWarning, stacklevel=3)


def stacks() -> str:
    """Return, for every task but the one that asks, the lines at which it waits."""
    current = asyncio.current_task()
    return "\n".join(
        "\n  ".join([task.get_name(), *_waits(task.get_coro())])
        for task in asyncio.all_tasks()
        if task is not current
    )


def _waits(awaited: Any) -> Iterator[str]:
    """Yield where each of the coroutines that await one another stands, from the outermost."""
    while awaited is not None:
        frames = (getattr(awaited, name, None) for name in ("cr_frame", "gi_frame", "ag_frame"))
        frame = next((one for one in frames if isinstance(one, types.FrameType)), None)
        if frame is None:
            yield repr(awaited)
            return
        yield f"{frame.f_code.co_filename}:{frame.f_lineno} {frame.f_code.co_name}"
        inner = (getattr(awaited, name, None) for name in ("cr_await", "gi_yieldfrom", "ag_await"))
        awaited = next((one for one in inner if one is not None), None)
