"""Health over HTTP: while the process is still starting, and under many pollers."""

import asyncio

import aiohttp

from service.runtime.health import HealthCheck, serve_health
from service.runtime.metrics import Metrics
from tests.support.eventually import eventually


async def test_checks_added_during_a_probe_run_at_the_next_probe() -> None:
    checks: dict[str, HealthCheck] = {}

    async def fine() -> None:
        return

    async def starting() -> None:
        checks["database"] = fine

    checks["starting"] = starting
    runner, port = await serve_health("127.0.0.1", 0, Metrics().exposition, checks)
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            async with session.get("/readyz") as first:
                assert first.status == 200
                assert (await first.json())["checks"] == {"starting": "ok"}
            async with session.get("/readyz") as second:
                assert set((await second.json())["checks"]) == {"starting", "database"}
    finally:
        await runner.cleanup()


async def test_many_pollers_share_one_run_of_the_checks() -> None:
    runs, may_end = 0, asyncio.Event()

    async def slow() -> None:
        nonlocal runs
        runs += 1
        await may_end.wait()

    runner, port = await serve_health("127.0.0.1", 0, Metrics().exposition, {"slow": slow})
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:

            async def status() -> int:
                async with session.get("/readyz") as response:
                    return response.status

            hung_up = asyncio.create_task(status())
            await eventually(lambda: runs == 1)
            hung_up.cancel()
            pollers = [asyncio.create_task(status()) for _ in range(50)]
            await status_of(session, "/healthz")
            may_end.set()
            assert set(await asyncio.gather(*pollers)) == {200}
            assert runs == 1
    finally:
        await runner.cleanup()


async def test_a_fault_is_seen_once_the_last_answer_is_no_longer_fresh() -> None:
    faults = [""]

    async def check() -> None:
        if faults[-1]:
            raise ConnectionError(faults[-1])

    runner, port = await serve_health("127.0.0.1", 0, Metrics().exposition, {"bus": check})
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            assert await status_of(session, "/readyz") == 200
            faults.append("away")

            async def seen() -> bool:
                return await status_of(session, "/readyz") == 503

            await eventually(seen)
    finally:
        await runner.cleanup()


async def status_of(session: aiohttp.ClientSession, path: str) -> int:
    async with session.get(path) as response:
        return response.status
