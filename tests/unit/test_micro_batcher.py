"""MicroBatcher: single calls share batches, bounded in size, wait and concurrency."""

import asyncio
from collections.abc import Sequence

import pytest

from service.flow_control.micro_batcher import MicroBatcher
from tests.support.eventually import eventually


class RecordedBatches:
    """Notes the batches it is given, and doubles their numbers."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.at_once = 0
        self.most = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def double(self, numbers: Sequence[int]) -> list[int]:
        self.sizes.append(len(numbers))
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        await self.gate.wait()
        self.at_once -= 1
        return [2 * number for number in numbers]


async def test_concurrent_callers_share_a_batch() -> None:
    batches = RecordedBatches()
    batcher = MicroBatcher(batches.double)
    assert await asyncio.gather(*(batcher.add(n) for n in range(50))) == [2 * n for n in range(50)]
    assert batches.sizes == [50]


async def test_full_batch_does_not_wait() -> None:
    batches = RecordedBatches()
    batcher = MicroBatcher(batches.double, size=10, wait_s=3600)
    assert len(await asyncio.gather(*(batcher.add(n) for n in range(20)))) == 20
    assert batches.sizes == [10, 10]


async def test_lanes_bound_the_number_of_concurrent_batches() -> None:
    batches = RecordedBatches()
    batches.gate.clear()
    batcher = MicroBatcher(batches.double, size=5, lanes=2)
    adding = asyncio.gather(*(batcher.add(n) for n in range(40)))
    await eventually(lambda: len(batches.sizes) == 2)
    batches.gate.set()
    await adding
    assert batches.most == 2
    assert sum(batches.sizes) == 40


async def test_without_a_wait_a_lone_item_begins_at_the_next_turn() -> None:
    batches = RecordedBatches()
    batches.gate.clear()
    batcher = MicroBatcher(batches.double, wait_s=0, lanes=1)
    first = asyncio.create_task(batcher.add(1))
    await eventually(lambda: batches.sizes == [1])
    later = [asyncio.create_task(batcher.add(n)) for n in range(3)]
    batches.gate.set()
    assert [await first, *[await task for task in later]] == [2, 0, 2, 4]
    assert batches.sizes == [1, 3]


@pytest.mark.parametrize(
    ("count", "sizes"),
    [(3, [3]), (8, [4, 4]), (9, [5, 4]), (20, [10, 10]), (50, [12, 12, 12, 12, 2])],
)
async def test_waiting_items_are_distributed_over_free_lanes(count: int, sizes: list[int]) -> None:
    batches = RecordedBatches()
    batcher = MicroBatcher(batches.double, wait_s=0, size=12, least=4, lanes=2)
    await asyncio.gather(*(batcher.add(n) for n in range(count)))
    assert batches.sizes == sizes


async def test_slow_batch_releases_its_lane() -> None:
    batches = RecordedBatches()
    batches.gate.clear()
    batcher = MicroBatcher(batches.double, wait_s=0, lanes=1, lane_s=0.001)
    first = asyncio.create_task(batcher.add(1))
    await eventually(lambda: batches.sizes == [1])
    second = asyncio.create_task(batcher.add(2))
    await eventually(lambda: batches.sizes == [1, 1])
    batches.gate.set()
    assert [await first, await second] == [2, 4]


async def test_items_of_a_key_never_share_a_batch() -> None:
    seen: list[Sequence[int]] = []

    async def note(numbers: Sequence[int]) -> Sequence[int]:
        seen.append(numbers)
        return numbers

    batcher = MicroBatcher(note, key=lambda number: number % 3)
    assert await asyncio.gather(*(batcher.add(n) for n in range(6))) == list(range(6))
    assert [sorted(n % 3 for n in batch) for batch in seen] == [[0, 1, 2], [0, 1, 2]]


async def test_failure_reaches_every_caller_of_its_batch_and_no_other() -> None:
    calls = 0

    async def fail_once(numbers: Sequence[int]) -> Sequence[int]:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise OSError("away")
        return numbers

    batcher = MicroBatcher(fail_once, size=2)
    results = await asyncio.gather(*(batcher.add(n) for n in range(4)), return_exceptions=True)
    assert [isinstance(result, OSError) for result in results] == [True, True, False, False]


async def test_cancelled_caller_does_not_affect_its_batch() -> None:
    batches = RecordedBatches()
    batcher = MicroBatcher(batches.double)
    leaving = asyncio.create_task(batcher.add(1))
    staying = asyncio.create_task(batcher.add(2))
    await asyncio.sleep(0)
    leaving.cancel()
    assert await staying == 4
