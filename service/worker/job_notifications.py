"""Keeps a listener for new jobs, on a new connection where one is lost."""

import asyncio
import time
from collections.abc import Callable
from logging import getLogger

import asyncpg

from service.storage.engine.errors import is_unavailable
from service.storage.runs.queue_listener import Listener, ListenerLostError, listening
from service.worker.outage import RESTORE_S

log = getLogger(__name__)

PROBE_INTERVAL_S = 3.0
PROBE_TIMEOUT_S = 5.0
RECONNECT_DELAY_S = 0.1


async def keep_listening(pool: asyncpg.Pool, on_enqueued: Callable[[], None]) -> None:
    """Call ``on_enqueued`` when there may be new jobs, for as long as the task runs.

    Raises ListenerLostError when none has listened for ``RESTORE_S``.
    """
    heard = time.monotonic()
    while True:
        try:
            async with listening(pool, on_enqueued) as listener:
                on_enqueued()  # jobs that were enqueued before went unnoticed
                while True:
                    await listener.probe(PROBE_TIMEOUT_S)
                    heard = time.monotonic()
                    await _lost_within(listener, PROBE_INTERVAL_S)
        except Exception as error:
            if not isinstance(error, ListenerLostError) and not is_unavailable(error):
                raise
            if time.monotonic() - heard > RESTORE_S:
                raise ListenerLostError from error
            log.warning("the listener is lost and reconnects: %r", error)
            await asyncio.sleep(RECONNECT_DELAY_S)


async def _lost_within(listener: Listener, timeout_s: float) -> None:
    """Wait while the listener is there. Raises ListenerLostError as soon as it is not."""
    try:
        async with asyncio.timeout(timeout_s):
            await listener.lost.wait()
    except TimeoutError:
        return
    raise ListenerLostError
