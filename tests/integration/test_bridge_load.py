"""Many execute requests at once, and a bridge that stops among them."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from nats.aio.client import Client

from tests.support.callers import connected
from tests.support.eventually import eventually
from tests.support.executions import ask_result, executing
from tests.support.runner_double import RunnerDouble, http_runner


@pytest.fixture
async def bus(nats_url: str) -> AsyncIterator[Client]:
    async with connected(nats_url) as client:
        yield client


@pytest.fixture
async def stub() -> AsyncIterator[RunnerDouble]:
    async with http_runner() as stub:
        yield stub


async def test_requests_in_flight_stay_within_the_concurrency_limit(
    nats_url: str, bus: Client, stub: RunnerDouble
) -> None:
    release = stub.hold()
    async with executing(nats_url, stub.url, concurrency=3, max_waiting=4) as executor:
        asked = [asyncio.create_task(ask_result(bus)) for _ in range(7)]
        await eventually(lambda: stub.in_flight == 3 and executor.in_flight == 7)
        refused = await ask_result(bus)
        assert (refused.status, refused.error) == (503, "Bridge is busy")
        release.set()
        answers = await asyncio.gather(*asked)
    assert [answer.status for answer in answers] == [200] * 7
    assert stub.max_in_flight == 3


async def test_stopping_a_bridge_answers_requests_in_flight(
    nats_url: str, bus: Client, stub: RunnerDouble
) -> None:
    release = stub.hold()
    async with executing(nats_url, stub.url) as executor:
        asked = [asyncio.create_task(ask_result(bus)) for _ in range(5)]
        await eventually(lambda: stub.in_flight == 5)
        stopping = asyncio.create_task(executor.stop())
        release.set()
        await stopping
        assert executor.in_flight == 0
        assert [answer.status for answer in await asyncio.gather(*asked)] == [200] * 5


async def test_a_bridge_that_exceeds_its_drain_timeout_still_answers(
    nats_url: str, bus: Client, stub: RunnerDouble
) -> None:
    stub.hold()
    async with executing(nats_url, stub.url, concurrency=1, drain_timeout_s=0.05) as executor:
        asked = [asyncio.create_task(ask_result(bus)) for _ in range(3)]
        await eventually(lambda: executor.in_flight == 3)
        await executor.stop()
        answers = await asyncio.gather(*asked)
    assert [answer.error for answer in answers] == ["Bridge is stopping"] * 3
    assert [answer.status for answer in answers] == [503] * 3


async def test_two_bridges_share_the_work_and_lose_none_when_one_stops(
    nats_url: str, bus: Client, stub: RunnerDouble
) -> None:
    async with executing(nats_url, stub.url) as first, executing(nats_url, stub.url):
        asked = [asyncio.create_task(ask_result(bus)) for _ in range(100)]
        await eventually(lambda: len(stub.calls) > 20)
        await first.stop()
        answers = await asyncio.gather(*asked)
    assert [answer.status for answer in answers] == [200] * 100
    assert len(stub.calls) == 100
