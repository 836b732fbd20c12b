"""The process of ``bridge``: what it connects and serves."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import typer

from contracts.context import InvalidKeySet, signing_key
from contracts.subjects import HOST_AUDIENCE
from runner_bridge.callback import CallbackHandler
from runner_bridge.executor import Executor, ExecutorSettings
from runner_bridge.requests import SignedRequests, SigningKeyProvider
from runner_bridge.runner import runner_session
from runner_bridge.sidecar import serving
from service.bus.connection import Bus, BusUnavailableError, confirm_subscriptions
from service.cli.errors import CommandError
from service.runtime.metrics import Metrics
from service.runtime.resources import bus_check, connected_bus, health, key_ring, life_checks, watch
from service.runtime.settings import Settings
from service.runtime.settings_sources import FILE_ENCODING
from service.runtime.shutdown import (
    BEYOND_DRAIN_S,
    running,
    stop_signal,
    unless_stopped,
    until_stopped,
)
from service.runtime.supervision import supervised


async def run_bridge(loaded: Settings) -> None:
    """Forward requests both ways until SIGTERM."""
    stopping = stop_signal(loaded.drain_timeout_s + BEYOND_DRAIN_S)
    started = asyncio.Event()
    metrics, checks = Metrics(), life_checks(started, stopping)
    keys = key_ring(loaded.key_set_file)
    executor_settings = ExecutorSettings(
        runner_url=loaded.runner_url,
        pool=loaded.runner_pool or None,
        reply_prefixes=loaded.reply_prefixes,
    )
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(health(loaded, metrics.exposition, checks))
        connecting = stack.enter_async_context(connected_bus(loaded, "bridge", metrics))
        bus = await unless_stopped(stopping, connecting)
        if bus is None:
            return
        checks["bus"] = bus_check(bus)
        session = await stack.enter_async_context(runner_session())
        if loaded.callback_token_file:
            await stack.enter_async_context(_callbacks(loaded, bus))
        executor = Executor(bus.client, session, keys.current, executor_settings)
        metrics.inflight.labels("execution").set_function(lambda: executor.in_flight)
        await executor.start()
        stack.push_async_callback(executor.stop)
        await _confirm_subscriptions(bus)
        await stack.enter_async_context(supervised())
        started.set()
        await until_stopped(stopping, await stack.enter_async_context(running(watch(bus))))


async def _confirm_subscriptions(bus: Bus) -> None:
    try:
        await confirm_subscriptions(bus)
    except BusUnavailableError as error:
        raise CommandError(str(error)) from None


@asynccontextmanager
async def _callbacks(loaded: Settings, bus: Bus) -> AsyncIterator[None]:
    """Serve the Runner's callbacks within the context."""
    callback = CallbackHandler(
        SignedRequests(bus.client, host_key(loaded.host_key_file)), _token(loaded)
    )
    host, port = loaded.callback_host, loaded.callback_port
    async with AsyncExitStack() as stack:
        server = serving(callback, loaded.platform_url or None, host=host, port=port)
        try:
            url = await stack.enter_async_context(server)
        except OSError as error:
            raise CommandError(f"cannot listen on {host}:{port}: {error.strerror}") from None
        typer.echo(f"serving callbacks on {url}")
        yield


def host_key(file: str) -> SigningKeyProvider:
    """Return a function that returns the current key for host calls, so that it may be rotated.

    Raises CommandError when the file has no such key.
    """
    keys = key_ring(file)
    try:
        signing_key(keys.current(), HOST_AUDIENCE)
    except InvalidKeySet as error:
        raise CommandError(f"{file}: {error}") from None
    return lambda: signing_key(keys.current(), HOST_AUDIENCE)


def _token(loaded: Settings) -> str:
    file = Path(loaded.callback_token_file)
    try:
        token = file.read_text(encoding=FILE_ENCODING).strip()
    except OSError as error:
        raise CommandError(f"callback token {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise CommandError(f"callback token {file}: not a text file") from None
    if not token:
        raise CommandError(f"callback token {file}: the file is empty")
    return token
