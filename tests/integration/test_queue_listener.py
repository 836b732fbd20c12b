"""The queue's listener is not taken for lost before it has begun to listen."""

import asyncio
from uuid import uuid4

import asyncpg
from pgqueuer.domain.types import HealthCheckId

from service.storage.queue import SETTINGS, owned_jobs
from tests.support.eventually import eventually


async def test_a_probe_waits_for_the_listener_and_then_reaches_it(pool: asyncpg.Pool) -> None:
    jobs, heard = owned_jobs(pool), asyncio.Event()
    probe = asyncio.create_task(jobs.notify_health_check(HealthCheckId(uuid4())))
    # Time enough for a probe that does not wait to be sent, and lost.
    await pool.fetchval("SELECT pg_sleep(0.2)")
    assert not probe.done()
    await jobs.driver.add_listener(SETTINGS.channel, lambda _: heard.set())
    await eventually(heard.is_set)
    await probe
    await jobs.driver.__aexit__()
