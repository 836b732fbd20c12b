"""The end of tasks that are cancelled, also where a cancellation gets lost."""

import asyncio
import math
from collections.abc import Iterable
from typing import Any

REPEAT_S = 1.0


async def cancel_and_wait(
    tasks: Iterable[asyncio.Task[Any]], timeout_s: float = math.inf
) -> set[asyncio.Task[Any]]:
    """Cancel tasks until they have ended; return those that have not within ``timeout_s`` seconds.

    One cancellation is not enough: in Python 3.11 ``asyncio.wait_for`` returns the result, and
    forgets the cancellation, where both arrive at once. So they are cancelled again each second.
    What the ended tasks raised is left to the caller, and not logged where it does not look.
    """
    waited_for = set(tasks)
    left = {task for task in waited_for if not task.done()}
    while left and timeout_s > 0:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=min(REPEAT_S, timeout_s))
        timeout_s -= REPEAT_S
    for task in waited_for - left:
        if not task.cancelled():
            task.exception()
    return left
