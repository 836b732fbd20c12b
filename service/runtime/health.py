"""``/healthz``, ``/readyz`` and ``/metrics`` on one port."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web
from prometheus_client.exposition import CONTENT_TYPE_LATEST

SHUTDOWN_TIMEOUT_S = 1.0
"""How long a request may still take while the server stops."""
KEEP_S = 0.5
"""How long the results of a check answer further requests, so that pollers add no load."""
UNIX = "unix:"
Exposition = Callable[[], Awaitable[bytes]]
"""Returns the metrics in Prometheus' text format."""
HealthCheck = Callable[[], Awaitable[None]]
"""Returns where the process is well; raises an exception whose text states what is wrong."""


async def serve_health(
    host: str, port: int, exposition: Exposition, checks: Mapping[str, HealthCheck]
) -> tuple[web.AppRunner, int]:
    """Start serving; return the runner, to be cleaned up, and the port in use.

    A host ``unix:PATH`` is a socket in the file system, without a port. Ready means that every
    check passes. Raises OSError when the port is taken.
    """

    async def healthz(_request: web.Request) -> web.Response:
        return web.json_response({"alive": True})

    readiness = Readiness(checks)

    async def readyz(_request: web.Request) -> web.Response:
        results = await readiness.results()
        ready = all(result == "ok" for result in results.values())
        return web.json_response({"ready": ready, "checks": results}, status=200 if ready else 503)

    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(body=await exposition(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    application = web.Application()
    application.router.add_get("/healthz", healthz)
    application.router.add_get("/readyz", readyz)
    application.router.add_get("/metrics", metrics)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=SHUTDOWN_TIMEOUT_S)
    await runner.setup()
    if host.startswith(UNIX):
        await web.UnixSite(runner, host.removeprefix(UNIX)).start()
        return runner, 0
    await web.TCPSite(runner, host, port).start()
    return runner, runner.addresses[0][1]


class Readiness:
    """Runs checks once for all who ask while they run, and for ``KEEP_S`` seconds after."""

    def __init__(self, checks: Mapping[str, HealthCheck]) -> None:
        self._checks = checks
        self._running: asyncio.Task[dict[str, str]] | None = None
        self._fresh_until = 0.0

    async def results(self) -> dict[str, str]:
        """Return ``ok``, or what is wrong, by name of the check."""
        running = self._running
        if running is None or (running.done() and not self._is_fresh(running.result())):
            running = self._running = asyncio.create_task(self._run())
        return await asyncio.shield(running)  # one who hangs up does not end it for the others

    def _is_fresh(self, results: Mapping[str, str]) -> bool:
        return time.monotonic() < self._fresh_until and results.keys() == self._checks.keys()

    async def _run(self) -> dict[str, str]:
        current = dict(self._checks)  # a process that is starting adds to them
        faults = await run_checks(current)
        self._fresh_until = time.monotonic() + KEEP_S
        return {name: faults.get(name, "ok") for name in current}


async def run_checks(checks: Mapping[str, HealthCheck]) -> dict[str, str]:
    """Run every check; return the errors by name."""
    faults = {}
    for name, check in checks.items():
        try:
            await check()
        except Exception as error:  # noqa: BLE001 - whatever it is, it means not ready
            faults[name] = str(error) or type(error).__name__
    return faults
