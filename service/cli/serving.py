"""``serve``: answers requests and fires schedules."""

import asyncio
import gc
import os
import signal
import threading
from typing import Annotated

import typer

from service.runtime import settings
from service.runtime.logs import configure
from service.runtime.role import Role


def serve(
    role: Annotated[Role, typer.Option(help="Role of this process.")] = Role.ALL,
    processes: Annotated[
        int, typer.Option(help="Processes to serve with, supervised, behind one port.", min=1)
    ] = 1,
    lifeline: Annotated[int | None, typer.Option(hidden=True)] = None,
    beside: Annotated[int, typer.Option(hidden=True)] = 1,
) -> None:
    """Answer requests, fire schedules, or both, until SIGTERM.

    \b
    Examples:
      ext-scheduler serve
      ext-scheduler serve --role worker --processes 4
      EXT_SCHEDULER_HTTP_PORT=9470 ext-scheduler serve --role worker
    """
    loaded = settings.load(os.environ)
    configure(loaded.log_format, loaded.log_level)
    if lifeline is not None:
        threading.Thread(target=_stop_at_end_of, args=(lifeline,), daemon=True).start()
    if processes > 1:
        from service.runtime.process_group import serve_group  # noqa: PLC0415 - as below

        words = ("serve", "--role", role.value, "--beside", str(processes))
        asyncio.run(serve_group(loaded, words, processes))
        return
    # Imported here, as they take longest: not for the help.
    import uvloop  # noqa: PLC0415 - see above

    from service import app  # noqa: PLC0415 - see above

    _tune_garbage_collector()
    # On uvloop a database round trip takes half the time of the standard event loop.
    uvloop.run(app.serve(loaded, role, processes=beside))


def _stop_at_end_of(lifeline: int) -> None:
    """Stop this process when the one that started it is gone, which holds the other end."""
    os.read(lifeline, 1)
    os.kill(os.getpid(), signal.SIGTERM)


def _tune_garbage_collector() -> None:
    """Collect garbage cycles rarely: it took a seventh of the time, and hardly any arise."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
