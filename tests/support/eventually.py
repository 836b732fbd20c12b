"""Waiting for what will come, instead of sleeping for as long as it might take."""

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

NOT_WITHIN = "not within "
"""How the AssertionError begins."""


async def eventually(predicate: Callable[[], object], within: float = 60.0) -> Any:
    """Return the first true value of ``predicate``, or of what it awaits; asked about every 10 ms.

    ``within`` only ends a hang, for a busy machine is no finding; claims about time give their own.
    An AssertionError that it raises counts as "not yet". Raises AssertionError, saying what was
    seen last, when nothing true came in ``within`` seconds.
    """
    last: object = None
    try:
        async with asyncio.timeout(within):
            while True:
                try:
                    answer = predicate()
                    last = await answer if inspect.isawaitable(answer) else answer
                except AssertionError as not_yet:
                    last = not_yet
                else:
                    if last:
                        return last
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"{NOT_WITHIN}{within} s; last seen: {last!r}") from None
