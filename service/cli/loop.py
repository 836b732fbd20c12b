"""Running a command's coroutine, so that Ctrl-C is clean at every moment."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
INTERRUPT = {signal.SIGINT}


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run ``work`` to its end. Raises KeyboardInterrupt on Ctrl-C, once ``work`` has cleaned up.

    ``asyncio.run`` takes Ctrl-C over a moment late: one that comes while the event loop is being
    made leaves half of it, and complaints about that. Here it waits until somebody can take it.
    """

    async def interruptible() -> T:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, INTERRUPT)
        return await work

    signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPT)
    try:
        return asyncio.run(interruptible())
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, INTERRUPT)
