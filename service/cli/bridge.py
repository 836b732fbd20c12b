"""``bridge``: connects the bus and a Runner, in both directions."""

import asyncio
import os
from typing import Annotated

import typer

from contracts.subjects import execute_subject
from service.cli.errors import EXIT_USAGE, CommandError
from service.runtime import settings
from service.runtime.logs import configure
from service.runtime.settings import PREFIX

RUNNER_URL = f"{PREFIX}RUNNER_URL"
RUNNER_POOL = f"{PREFIX}RUNNER_POOL"


def bridge(
    runner: Annotated[
        str, typer.Option(help="Base URL of the Runner; by default from the settings.")
    ] = "",
) -> None:
    """Forward execute requests from the bus to a Runner, and its callbacks to the bus.

    Callbacks are served where EXT_SCHEDULER_CALLBACK_TOKEN_FILE and EXT_SCHEDULER_HOST_KEY_FILE are
    set; all other paths are then forwarded to EXT_SCHEDULER_PLATFORM_URL. Runs until SIGTERM.

    \b
    Examples:
      ext-scheduler bridge --runner http://127.0.0.1:8085
      EXT_SCHEDULER_RUNNER_URL=http://runner:8085 ext-scheduler bridge
    """
    # Imported here, with the clients that it needs: not for the help.
    from service.cli.bridge_process import run_bridge  # noqa: PLC0415 - see above

    override = {RUNNER_URL: runner} if runner else {}
    loaded = settings.load({**os.environ, **override})
    if not loaded.runner_url:
        raise CommandError(f"missing --runner (or {RUNNER_URL})", EXIT_USAGE)
    try:
        execute_subject(loaded.runner_pool or None)
    except ValueError as error:
        raise CommandError(f"{RUNNER_POOL}: {error}", EXIT_USAGE) from None
    configure(loaded.log_format, loaded.log_level)
    asyncio.run(run_bridge(loaded))
