"""Running the development Runner: its extensions speak to the service over the bus."""

import asyncio
import os
from pathlib import Path

import typer

from contracts.context import InvalidKeySet, signing_key
from contracts.subjects import HOST_AUDIENCE
from runner_bridge.dev_runner import server
from runner_bridge.dev_runner.schedulers import schedulers_over
from runner_bridge.dev_runner.server import RunnerSettings
from runner_bridge.requests import SignedRequests
from service import settings
from service.cli.errors import CommandError
from service.cli.runner_side import connected_bus, key_ring, stop_signal, stopped
from service.logs import configure
from service.settings import Settings

__all__ = ["RunnerSettings", "run"]


def run(listening: RunnerSettings, key: Path) -> None:
    """Serve until SIGTERM; host calls are signed with the first fitting key in the file ``key``."""
    chosen = settings.load(os.environ)
    configure(chosen.log_format, chosen.log_level)
    asyncio.run(_serve(chosen, listening, key))


async def _serve(chosen: Settings, listening: RunnerSettings, key: Path) -> None:
    stopping = stop_signal()
    keys = key_ring(key)
    try:
        signing_key(keys.current(), HOST_AUDIENCE)
    except InvalidKeySet as error:
        raise CommandError(f"{key}: {error}") from None
    async with connected_bus(chosen, "dev-runner") as bus:
        requests = SignedRequests(bus.client, lambda: signing_key(keys.current(), HOST_AUDIENCE))
        try:
            async with server.running(listening, schedulers_over(requests)) as url:
                typer.echo(f"the Runner listens on {url}")
                await stopped(stopping, bus)
        except OSError as error:
            raise CommandError(f"the Runner cannot listen: {error.strerror}") from None
