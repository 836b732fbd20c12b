"""A flood of like events writes a few log lines a second, and a count of the rest."""

import asyncio
from logging import Logger

from service.runtime.logs import log_info

LINES_PER_S = 10
"""Lines a second of each kind that are written in full."""


class LineSampler:
    """Admits some lines a second of each kind of ``message``; states how many it left out.

    Kinds are of a closed set: each has a counter while its second lasts.
    """

    def __init__(self, log: Logger, message: str) -> None:
        self._log = log
        self._message = message
        self._seen: dict[str, int] = {}

    def admits(self, kind: str) -> bool:
        """Return whether this line is to be written."""
        seen = self._seen.get(kind, 0) + 1
        self._seen[kind] = seen
        if seen == 1:
            asyncio.get_running_loop().call_later(1.0, self._end_second, kind)
        return seen <= LINES_PER_S

    def _end_second(self, kind: str) -> None:
        left_out = self._seen.pop(kind) - LINES_PER_S
        if left_out > 0:
            log_info(
                self._log,
                "lines left out",
                of=self._message,
                kind=kind,
                count=left_out,
            )
