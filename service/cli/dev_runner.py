"""Runs the development Runner, whose extensions call the service over the bus."""

import asyncio
import os
from pathlib import Path

import typer

from runner_bridge.dev_runner import server
from runner_bridge.dev_runner.hints import Suggest
from runner_bridge.dev_runner.schedulers import schedulers_over
from runner_bridge.dev_runner.server import RunnerSettings
from runner_bridge.dev_runner.storage_journal import DamagedJournalError
from runner_bridge.requests import SignedRequests
from service.cli.bridge_process import host_key
from service.cli.errors import EXIT_USAGE, CommandError
from service.rules.hints import suggest_cron, suggest_timezone
from service.runtime import settings
from service.runtime.logs import configure
from service.runtime.metrics import Metrics
from service.runtime.resources import connected_bus, watch
from service.runtime.settings import Settings
from service.runtime.shutdown import BEYOND_DRAIN_S, running, stop_signal, until_stopped

__all__ = ["RunnerSettings", "run"]


def run(runner_settings: RunnerSettings, key: Path) -> None:
    """Serve until SIGTERM; sign host calls with the first suitable key in the file ``key``."""
    loaded = settings.load(os.environ)
    configure(loaded.log_format, loaded.log_level)
    asyncio.run(_serve(loaded, runner_settings, key))


def suggestions(loaded: Settings) -> Suggest:
    """Return what names an accepted cron expression or time zone in place of a refused one."""

    def suggest(field: str, text: str) -> str | None:
        if field == "cron":
            return suggest_cron(text, min_interval_minutes=loaded.min_interval_minutes)
        return suggest_timezone(text)

    return suggest


async def _serve(loaded: Settings, runner_settings: RunnerSettings, key: Path) -> None:
    stopping = stop_signal(loaded.drain_timeout_s + BEYOND_DRAIN_S)
    signing = host_key(str(key))
    async with connected_bus(loaded, "dev-runner", Metrics()) as bus:
        requests = SignedRequests(bus.client, signing)
        try:
            async with (
                server.running(
                    runner_settings, schedulers_over(requests), suggestions(loaded)
                ) as url,
                running(watch(bus)) as watching,
            ):
                typer.echo(f"the Runner is listening on {url}")
                await until_stopped(stopping, watching)
        except DamagedJournalError as error:
            raise CommandError(str(error), EXIT_USAGE) from None
        except OSError as error:
            if error.filename is not None:
                message = f"{error.filename}: {error.strerror}"
                raise CommandError(message, EXIT_USAGE) from None
            raise CommandError(f"the Runner cannot listen: {error.strerror}") from None
