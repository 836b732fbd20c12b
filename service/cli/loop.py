"""Runs a command's coroutine so that Ctrl-C is handled cleanly at any moment."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

from contracts.shared.cancellation import cancel_and_wait

T = TypeVar("T")
SIGINT_ONLY = {signal.SIGINT}


def run(command: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine. Raises KeyboardInterrupt on Ctrl-C, once the coroutine has cleaned up.

    ``asyncio.run`` installs its SIGINT handler only after it has created the event loop: a Ctrl-C
    before that leaves a half-built loop and warnings about it. Here SIGINT is blocked until then.
    And it cancels once only: a command that this did not reach would never end.
    """

    async def interruptible() -> T:
        working = asyncio.create_task(command)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGINT_ONLY)
        try:
            await asyncio.wait({working})
        except asyncio.CancelledError:
            await cancel_and_wait({working})
        return working.result()

    signal.pthread_sigmask(signal.SIG_BLOCK, SIGINT_ONLY)
    try:
        return asyncio.run(interruptible())
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGINT_ONLY)
