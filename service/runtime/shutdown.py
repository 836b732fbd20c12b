"""How a process stops: on a signal, in order, and within a bounded time."""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from logging import getLogger
from typing import Any, TypeVar

from contracts.shared.cancellation import cancel_and_wait

log = getLogger(__name__)

T = TypeVar("T")
Component = Callable[[asyncio.Event], Coroutine[Any, Any, None]]
"""Runs until the event is set, then returns."""

BEYOND_DRAIN_S = 8.0
"""How long an orderly stop may take in addition to draining the running work."""
COMPONENT_STOP_TIMEOUT_S = 5.0
CANCEL_TIMEOUT_S = 2.0
FORCED_EXIT_STATUS = 1


def stop_signal(timeout_s: float) -> asyncio.Event:
    """Return an event that the first SIGTERM or SIGINT sets; a second one ends the process.

    So does the end of ``timeout_s``, with status 1 and a line that names what is still running.
    """
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop() -> None:
        stopping.set()
        force_exit_after(timeout_s)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    return stopping


def force_exit_after(timeout_s: float) -> None:
    """End the process after the timeout, if it still runs, whatever blocks it."""
    # A thread, so that it also happens when the event loop is blocked, or has ended and waits.
    arguments = (asyncio.get_running_loop(), timeout_s)
    timer = threading.Timer(timeout_s, _force_exit, arguments)
    timer.daemon = True
    timer.start()


def _force_exit(loop: asyncio.AbstractEventLoop, timeout_s: float) -> None:
    try:
        names = ", ".join(sorted({_name(task) for task in asyncio.all_tasks(loop)}))
        line = f"did not end within {timeout_s:g} s; still running: {names or 'nothing'}"
        sys.stderr.write(f"ext-scheduler: {line}\n")
        sys.stderr.flush()
    finally:
        os._exit(FORCED_EXIT_STATUS)


def _name(task: asyncio.Task[Any]) -> str:
    return getattr(task.get_coro(), "__qualname__", task.get_name())


async def until_stopped(stopping: asyncio.Event, *components: asyncio.Task[None]) -> None:
    """Wait for the stop signal; raise what a component raises before. The components continue."""
    signalled = asyncio.create_task(stopping.wait())
    try:
        done, _ = await asyncio.wait({signalled, *components}, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        signalled.cancel()


async def unless_stopped(stopping: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """Return the result of the work; None when the stop signal comes first and cancels it."""
    signalled, working = asyncio.create_task(stopping.wait()), asyncio.create_task(work)
    try:
        done, _ = await asyncio.wait({signalled, working}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        signalled.cancel()
        await cancel_and_wait({working})
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
    component: Component,
    *,
    stop_event: asyncio.Event | None = None,
    timeout_s: float = COMPONENT_STOP_TIMEOUT_S,
) -> AsyncIterator[asyncio.Task[None]]:
    """Run a component within the context, then stop it and wait until it has ended.

    ``stop_event`` may stop it earlier. It is cancelled when it has not ended ``timeout_s`` after
    the end of the context.
    """
    stopping = stop_event or asyncio.Event()
    task = asyncio.create_task(component(stopping))
    try:
        yield task
    finally:
        stopping.set()
        await asyncio.wait({task}, timeout=timeout_s)
        if not task.done():
            log.warning("%s did not end within %g s; cancelled", _name(task), timeout_s)
            await cancel_and_wait({task}, CANCEL_TIMEOUT_S)
        if task.done() and not task.cancelled() and (error := task.exception()) is not None:
            log.error("component failed: %s", error)
