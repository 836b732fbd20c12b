"""A few changes of one install at a time."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import pytest

from contracts.errors import Code, ServiceError
from service.flow_control.keyed_limiter import PerKeyLimiter


async def test_one_install_is_limited_while_others_are_not() -> None:
    limiter, busy, idle = PerKeyLimiter(2), uuid4(), uuid4()
    running = 0
    most = 0
    release = asyncio.Event()

    async def change() -> None:
        nonlocal running, most
        async with limiter.turn(busy):
            running += 1
            most = max(most, running)
            await release.wait()
            running -= 1

    changes = [asyncio.create_task(change()) for _ in range(5)]
    await asyncio.sleep(0)
    async with limiter.turn(idle):
        assert running == 2
    release.set()
    await asyncio.gather(*changes)
    assert most == 2


async def test_installs_without_waiters_use_no_memory() -> None:
    limiter, install = PerKeyLimiter(1), uuid4()

    async def wait_for_ever() -> None:
        async with limiter.turn(install):
            await asyncio.Event().wait()

    holding, waiting = (asyncio.create_task(wait_for_ever()) for _ in range(2))
    await asyncio.sleep(0)
    for task in (waiting, holding):
        assert install in limiter._semaphores
        task.cancel()
        await asyncio.wait({task})
    assert limiter._semaphores == {}


async def test_waiters_are_bounded_in_number_and_time() -> None:
    limiter, install = PerKeyLimiter(1, waiting=1, timeout_s=0.01), uuid4()
    asides = 0

    @contextmanager
    def aside() -> Iterator[None]:
        nonlocal asides
        asides += 1
        yield

    async with limiter.turn(install, aside):
        assert asides == 0
        waiting = asyncio.create_task(limiter.turn(install, aside).__aenter__())
        await asyncio.sleep(0)
        assert asides == 1
        with pytest.raises(ServiceError) as caught:
            await limiter.turn(install).__aenter__()
        assert caught.value.code is Code.UNAVAILABLE
        with pytest.raises(TimeoutError):
            await waiting
    assert limiter._semaphores == {}
