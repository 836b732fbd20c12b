"""``bridge``: between the bus and a Runner."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Annotated

import aiohttp
import typer

from runner_bridge.executor import Executor, ExecutorSettings
from service import settings
from service.bus import Bus, BusUnavailableError, confirm_subscriptions, probe
from service.cli.errors import CommandError
from service.cli.runner_side import connected_bus, key_ring, stop_signal, stopped
from service.health import serve_health
from service.logs import configure
from service.metrics import Metrics
from service.settings import Settings


def bridge(
    runner: Annotated[str, typer.Option(help="Base URL of the Runner.")],
) -> None:
    """Pass execute requests from the bus on to a Runner, verified. Until SIGTERM."""
    chosen = settings.load(os.environ)
    configure(chosen.log_format, chosen.log_level)
    asyncio.run(_bridge(chosen, runner))


async def _bridge(chosen: Settings, runner_url: str) -> None:
    stopping = stop_signal()
    keys = key_ring(Path(chosen.key_set_file))
    executing = ExecutorSettings(runner_url=runner_url, reply_prefixes=chosen.reply_prefixes)
    async with AsyncExitStack() as stack:
        bus = await stack.enter_async_context(connected_bus(chosen, "bridge"))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        executor = Executor(bus.client, session, keys.current, executing)
        await executor.start()
        stack.push_async_callback(executor.stop)
        await _granted(bus)
        await stack.enter_async_context(_health(chosen, bus))
        await stopped(stopping, bus)


async def _granted(bus: Bus) -> None:
    try:
        await confirm_subscriptions(bus)
    except BusUnavailableError as error:
        raise CommandError(str(error)) from None


@asynccontextmanager
async def _health(chosen: Settings, bus: Bus) -> AsyncIterator[None]:
    async def through_the_bus() -> None:
        await probe(bus)

    checks = {"bus": through_the_bus}
    try:
        server, _ = await serve_health(chosen.http_host, chosen.http_port, Metrics(), checks)
    except OSError as error:
        raise CommandError(f"cannot listen on port {chosen.http_port}: {error.strerror}") from None
    try:
        yield
    finally:
        await server.cleanup()
