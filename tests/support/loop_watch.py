"""How long the event loop was held in one go, in CPU time: a busy machine makes it no longer."""

import time
from asyncio.events import Handle
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from msgspec import Struct


class LoopWatch(Struct):
    """The longest that one callback, or one step of a task, held the loop, in CPU seconds."""

    longest_s: float = 0.0


@contextmanager
def watched_loop() -> Iterator[LoopWatch]:
    """Watch what asyncio's loop runs within the context."""
    watch, run = LoopWatch(), Handle._run

    def timed(handle: Handle) -> None:
        began = time.thread_time()
        run(handle)
        watch.longest_s = max(watch.longest_s, time.thread_time() - began)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Handle, "_run", timed)
        yield watch


REFERENCE_S = 0.015
"""What ``slowness`` measures on the machine that the bounds in seconds were chosen for."""


def slowness() -> float:
    """Return how much slower than the reference this machine computes now, at least 1.

    Neighbours on the same core lengthen CPU time too; a bound in seconds is meant for one machine.
    """
    began = time.thread_time()
    objects = {str(number): [number] for number in range(60_000)}
    took_s = time.thread_time() - began
    assert len(objects) == 60_000
    return max(1.0, took_s / REFERENCE_S)
