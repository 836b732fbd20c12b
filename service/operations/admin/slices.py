"""Long loops in slices, so that one request never holds up the others."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from typing import TypeVar

SLICE_S = 0.01

Item = TypeVar("Item")


async def in_slices(items: Iterable[Item]) -> AsyncIterator[Item]:
    """Yield the items, and give the event loop a turn after each slice of work on them."""
    began = time.perf_counter()
    for item in items:
        yield item
        if time.perf_counter() - began >= SLICE_S:
            await asyncio.sleep(0)
            began = time.perf_counter()
