"""``serve``: answers requests and fires schedules."""

import gc
import os
from typing import Annotated

import typer

from service.runtime import settings
from service.runtime.logs import configure
from service.runtime.role import Role


def serve(
    role: Annotated[Role, typer.Option(help="Role of this process.")] = Role.ALL,
) -> None:
    """Answer requests, fire schedules, or both, until SIGTERM.

    \b
    Examples:
      ext-scheduler serve
      EXT_SCHEDULER_HTTP_PORT=9470 ext-scheduler serve --role worker
    """
    # Imported here, as they take longest: not for the help.
    import uvloop  # noqa: PLC0415 - see above

    from service import app  # noqa: PLC0415 - see above

    loaded = settings.load(os.environ)
    configure(loaded.log_format, loaded.log_level)
    _tune_garbage_collector()
    # On uvloop a database round trip takes half the time of the standard event loop.
    uvloop.run(app.serve(loaded, role))


def _tune_garbage_collector() -> None:
    """Collect garbage cycles rarely: it took a seventh of the time, and hardly any arise."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
