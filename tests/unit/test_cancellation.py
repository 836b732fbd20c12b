"""What loses a cancellation, as ``asyncio.wait_for`` of Python 3.11 may, ends all the same."""

import asyncio
import os
import signal
import threading
from contextlib import suppress

import pytest

from contracts.shared.cancellation import cancel_and_wait
from service.cli import loop
from service.runtime.resources import background
from service.runtime.shutdown import running, unless_stopped

FAR_S = 30


async def lose_one(begun: asyncio.Event) -> None:
    """Wait until cancelled, lose that, and wait until cancelled again."""
    forever = asyncio.Event()
    begun.set()
    with suppress(asyncio.CancelledError):
        await forever.wait()
    await forever.wait()


async def test_a_task_that_loses_its_cancellation_is_cancelled_again() -> None:
    begun = asyncio.Event()
    task = asyncio.create_task(lose_one(begun))
    await begun.wait()
    assert await asyncio.wait_for(cancel_and_wait({task}), FAR_S) == set()
    assert task.cancelled()


async def test_tasks_that_do_not_end_in_time_are_returned() -> None:
    begun = asyncio.Event()
    lost, ended = asyncio.create_task(lose_one(begun)), asyncio.create_task(asyncio.sleep(0))
    await begun.wait()
    assert await cancel_and_wait({lost, ended}, 0.01) == {lost}
    assert await cancel_and_wait({lost}) == set()


def test_one_ctrl_c_ends_a_command_that_loses_its_cancellation() -> None:
    async def command() -> None:
        begun = asyncio.Event()
        asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGINT)
        await lose_one(begun)

    # A second one, which ends it where the first does not.
    second = threading.Timer(FAR_S, os.kill, (os.getpid(), signal.SIGINT))
    second.start()
    # As the program does it: what a shell starts in the background ignores SIGINT.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            loop.run(command())
        assert second.is_alive()
    finally:
        second.cancel()
        signal.signal(signal.SIGINT, before)


async def test_background_work_that_loses_its_cancellation_ends() -> None:
    begun = asyncio.Event()
    async with asyncio.timeout(FAR_S), background(lose_one(begun)):
        await begun.wait()


async def test_work_that_loses_its_cancellation_ends_at_the_stop_signal() -> None:
    stopping, begun = asyncio.Event(), asyncio.Event()

    async def stop() -> None:
        await begun.wait()
        stopping.set()

    async with asyncio.timeout(FAR_S), asyncio.TaskGroup() as group:
        group.create_task(stop())
        await unless_stopped(stopping, lose_one(begun))


async def test_a_component_that_loses_its_cancellation_ends() -> None:
    begun = asyncio.Event()

    async def component(_: asyncio.Event) -> None:
        await lose_one(begun)

    async with asyncio.timeout(FAR_S), running(component, timeout_s=0) as task:
        await begun.wait()
    assert task.cancelled()
