"""How long a loop of a worker goes on while its database connections are lost."""

import time
from collections.abc import Callable
from datetime import timedelta

from service.storage.engine.errors import is_connection_lost

RESTORE_S = 30.0
"""After this long without a working connection a loop gives up; a supervisor restarts it."""
FIRST_DELAY = timedelta(milliseconds=100)
MAX_DELAY = timedelta(seconds=2)


class Outage:
    """Counts one loop's lost connections since the last one that worked."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._began_at_s: float | None = None
        self._delay = FIRST_DELAY

    def over(self) -> None:
        """Note that a connection worked."""
        self._began_at_s = None
        self._delay = FIRST_DELAY

    def retry_delay(self, error: Exception) -> timedelta | None:
        """Return how long to wait before the next try; None where no connection was lost.

        Raises ``error`` when none has worked for ``RESTORE_S``.
        """
        if not is_connection_lost(error):
            return None
        now_s = self._monotonic()
        if self._began_at_s is None:
            self._began_at_s = now_s
        if now_s - self._began_at_s > RESTORE_S:
            raise error
        delay, self._delay = self._delay, min(2 * self._delay, MAX_DELAY)
        return delay
