"""How a process ends: when it is told to, in order, and within a time that can be relied upon."""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from logging import getLogger
from typing import Any, TypeVar

log = getLogger(__name__)

T = TypeVar("T")
Part = Callable[[asyncio.Event], Coroutine[Any, Any, None]]
"""Runs until the event is set, then ends by itself."""

BEYOND_DRAIN_S = 8.0
"""How long all the rest of an orderly end may take, beside what is in hand."""
PART_S = 5.0
CANCELLED_S = 2.0
GIVEN_UP = 1


def stop_signal(patience_s: float) -> asyncio.Event:
    """Return an event that the first SIGTERM or SIGINT sets; a second one ends the process.

    So does the end of ``patience_s``, with status 1 and a line that says what it still was at.
    """
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop() -> None:
        stopping.set()
        give_up_after(patience_s)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    return stopping


def give_up_after(patience_s: float) -> None:
    """End the process then, if it has not ended by itself, whatever holds it up."""
    # A thread, so that it also comes when the event loop no longer turns, or has ended and waits.
    arguments = (asyncio.get_running_loop(), patience_s)
    timer = threading.Timer(patience_s, _give_up, arguments)
    timer.daemon = True
    timer.start()


def _give_up(loop: asyncio.AbstractEventLoop, patience_s: float) -> None:
    try:
        names = ", ".join(sorted({_name(task) for task in asyncio.all_tasks(loop)}))
        told = f"did not end within {patience_s:g} s; it still was at: {names or 'nothing'}"
        sys.stderr.write(f"ext-scheduler: {told}\n")
        sys.stderr.flush()
    finally:
        os._exit(GIVEN_UP)


def _name(task: asyncio.Task[Any]) -> str:
    return getattr(task.get_coro(), "__qualname__", task.get_name())


async def until_stopped(stopping: asyncio.Event, *parts: asyncio.Task[None]) -> None:
    """Wait for the stop signal; raise what a part raises before. The parts go on."""
    signalled = asyncio.create_task(stopping.wait())
    try:
        done, _ = await asyncio.wait({signalled, *parts}, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        signalled.cancel()


async def unless_stopped(stopping: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """Return what the work comes to; None when the stop signal comes first and cancels it."""
    signalled, working = asyncio.create_task(stopping.wait()), asyncio.create_task(work)
    try:
        done, _ = await asyncio.wait({signalled, working}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        signalled.cancel()
        working.cancel()
        await asyncio.wait({working})
    return working.result() if working in done else None


async def first_of(*events: asyncio.Event) -> None:
    """Wait until one of the events is set."""
    waits = {asyncio.create_task(event.wait()) for event in events}
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


@asynccontextmanager
async def running(
    part: Part, *, told: asyncio.Event | None = None, within_s: float = PART_S
) -> AsyncIterator[asyncio.Task[None]]:
    """Run a part for the length of the block, then tell it to stop and wait until it has.

    ``told`` is an event that may tell it earlier. What has not ended ``within_s`` of the end of the
    block is cancelled.
    """
    stopping = told or asyncio.Event()
    task = asyncio.create_task(part(stopping))
    try:
        yield task
    finally:
        stopping.set()
        await asyncio.wait({task}, timeout=within_s)
        if not task.done():
            log.warning("%s did not end within %g s; cancelled", _name(task), within_s)
            task.cancel()
            await asyncio.wait({task}, timeout=CANCELLED_S)
        if task.done() and not task.cancelled() and (error := task.exception()) is not None:
            log.error("a part ended with an error: %s", error)
