"""Health over HTTP, asked while the process is still putting itself together."""

import aiohttp

from service.runtime.health import HealthCheck, serve_health
from service.runtime.metrics import Metrics


async def test_checks_added_during_a_probe_run_at_the_next_probe() -> None:
    checks: dict[str, HealthCheck] = {}

    async def fine() -> None:
        return

    async def starting() -> None:
        checks["database"] = fine

    checks["starting"] = starting
    runner, port = await serve_health("127.0.0.1", 0, Metrics(), checks)
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            async with session.get("/readyz") as first:
                assert first.status == 200
                assert (await first.json())["checks"] == {"starting": "ok"}
            async with session.get("/readyz") as second:
                assert set((await second.json())["checks"]) == {"starting", "database"}
    finally:
        await runner.cleanup()
