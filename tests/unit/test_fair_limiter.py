"""FairLimiter: permits are shared between tenants, and none is lost."""

import asyncio

import pytest

from service.flow_control.fair_limiter import MAX_RETRY_DELAY_S, MIN_RETRY_DELAY_S, FairLimiter


async def acquire_many(limiter: FairLimiter, tenant: str, count: int) -> int:
    return sum([await limiter.acquire(tenant, 0.0) for _ in range(count)])


async def test_first_tenant_gets_half_of_the_permits_and_the_next_a_share() -> None:
    limiter = FairLimiter(40)
    assert await acquire_many(limiter, "greedy", 100) == 20
    assert await acquire_many(limiter, "second", 100) == 10
    assert await acquire_many(limiter, "third", 100) == 5
    assert await acquire_many(limiter, "single", 1) == 1
    assert limiter.in_use <= limiter.capacity


async def test_released_permit_goes_to_a_waiting_caller() -> None:
    limiter = FairLimiter(2)
    assert await limiter.acquire("a", 0.0)
    waiting = asyncio.create_task(limiter.acquire("a", 60.0))
    await asyncio.sleep(0)
    assert not waiting.done()
    limiter.release("a", 1.0)
    assert await waiting
    assert limiter.in_use == 1


async def test_caller_that_timed_out_or_left_holds_no_permit() -> None:
    limiter = FairLimiter(2)
    assert await limiter.acquire("a", 0.0)
    assert not await limiter.acquire("a", 0.001)
    leaving = asyncio.create_task(limiter.acquire("a", 60.0))
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    limiter.release("a", 1.0)
    assert limiter.in_use == 0
    assert await limiter.acquire("a", 0.0)


async def test_permit_granted_at_the_cancellation_is_released() -> None:
    limiter = FairLimiter(2)
    assert await limiter.acquire("a", 0.0)
    leaving = asyncio.create_task(limiter.acquire("a", 60.0))
    await asyncio.sleep(0)
    limiter.release("a", 1.0)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert limiter.in_use == 0


async def test_retry_delays_follow_the_pace_of_the_tenant() -> None:
    now = 1000.0
    limiter = FairLimiter(8, clock=lambda: now)
    for _ in range(4):
        assert await limiter.acquire("slow", 0.0)
    for _ in range(4):
        limiter.release("slow", 32.0)
        assert await limiter.acquire("slow", 0.0)
    waits = [limiter.retry_delay("slow") for _ in range(100)]
    assert MIN_RETRY_DELAY_S < waits[0] < waits[5] < waits[-1] == MAX_RETRY_DELAY_S
    assert waits == sorted(waits)
    assert limiter.retry_delay("other") == MIN_RETRY_DELAY_S
