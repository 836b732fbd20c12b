"""``/healthz``, ``/readyz`` and ``/metrics`` on one port."""

from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from service.runtime.metrics import Metrics

SHUTDOWN_TIMEOUT_S = 1.0
"""How long a request may still take while the server stops."""
HealthCheck = Callable[[], Awaitable[None]]
"""Returns where the process is well; raises an exception whose text states what is wrong."""


async def serve_health(
    host: str, port: int, metrics: Metrics, checks: Mapping[str, HealthCheck]
) -> tuple[web.AppRunner, int]:
    """Start serving; return the runner, to be cleaned up, and the port in use.

    Ready means that every check passes. Raises OSError when the port is taken.
    """

    async def healthz(_request: web.Request) -> web.Response:
        return web.json_response({"alive": True})

    async def readyz(_request: web.Request) -> web.Response:
        current = dict(checks)  # a process that is starting adds to them
        faults = await run_checks(current)
        results = {name: faults.get(name, "ok") for name in current}
        return web.json_response(
            {"ready": not faults, "checks": results}, status=503 if faults else 200
        )

    async def exposition(_request: web.Request) -> web.Response:
        return web.Response(
            body=generate_latest(metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )

    application = web.Application()
    application.router.add_get("/healthz", healthz)
    application.router.add_get("/readyz", readyz)
    application.router.add_get("/metrics", exposition)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=SHUTDOWN_TIMEOUT_S)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    return runner, runner.addresses[0][1]


async def run_checks(checks: Mapping[str, HealthCheck]) -> dict[str, str]:
    """Run every check; return the errors by name."""
    faults = {}
    for name, check in checks.items():
        try:
            await check()
        except Exception as error:  # noqa: BLE001 -- whatever it is, it means not ready
            faults[name] = str(error) or type(error).__name__
    return faults
