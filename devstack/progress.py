"""Prints the progress of the demo and the development stack: steps, tables, a countdown."""

import asyncio
import itertools
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta

_step_numbers = itertools.count(1)
COUNTDOWN_INTERVAL_WITHOUT_TERMINAL_S = 10
PHASE_QUIET_S = 2.0
"""What is done sooner is not worth a line."""
PHASE_INTERVAL_S = 10.0


def step(text: str) -> None:
    """Print a numbered step."""
    print(f"{next(_step_numbers):3}. {text}", flush=True)


def detail(text: str) -> None:
    """Print lines that belong to the current step."""
    for line in text.splitlines():
        print(f"       {line}", flush=True)


@contextmanager
def phase(
    text: str, quiet_s: float = PHASE_QUIET_S, interval_s: float = PHASE_INTERVAL_S
) -> Iterator[None]:
    """Print what is done within the context where that takes long.

    After ``quiet_s`` seconds the text, and each ``interval_s`` seconds how long it has taken.
    """
    began, ended = time.monotonic(), threading.Event()

    def report() -> None:
        if ended.wait(quiet_s):
            return
        detail(f"{text} …")
        while not ended.wait(interval_s):
            detail(f"{text}: {time.monotonic() - began:.0f} s so far")

    thread = threading.Thread(target=report, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows of short texts under their headings."""
    lines = [list(map(str, row)) for row in (headings, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        detail("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)))


async def countdown(until: datetime) -> None:
    """Wait until an instant, and print the seconds left."""
    on_terminal = sys.stdout.isatty()
    interval_s = 1 if on_terminal else COUNTDOWN_INTERVAL_WITHOUT_TERMINAL_S
    while (left := until - datetime.now(until.tzinfo)) > timedelta(0):
        seconds = left.total_seconds()
        text = f"{seconds:4.0f} s left"
        if on_terminal:
            print(f"\r       {text} ", end="", flush=True)
        else:
            detail(text)
        await asyncio.sleep(min(seconds, interval_s))
    if on_terminal:
        print("\r       due now     ", flush=True)
