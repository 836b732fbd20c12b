"""Stopping loses no request, and what cannot be finished is refused rather than left in silence."""

import asyncio
from functools import partial

import nats.errors
import pytest
from nats.aio.client import Client

from service.bus.client import BusEvent
from service.bus.connection import probe
from service.messages import Reply, Request
from service.requests.responder import ResponderEvent
from tests.support.bus_service import Gate, a_bus, a_client, echo, operations, serving
from tests.support.eventually import eventually

LIST = "ext.scheduler.list"


async def test_stop_answers_running_and_waiting_requests(nats_url: str) -> None:
    gate = Gate()
    async with (
        a_bus(nats_url) as bus,
        a_client(nats_url) as client,
        serving(bus, gate.handle, concurrency=2) as responder,
    ):
        asked = [
            asyncio.create_task(client.request(LIST, b"%d" % number, timeout=60))
            for number in range(8)
        ]
        await eventually(lambda: (responder.running, responder.waiting) == (2, 6))
        stopping = asyncio.create_task(responder.stop())
        await eventually(lambda: not responder.accepting)
        gate.open.set()
        await stopping
        replies = [reply.data for reply in await asyncio.gather(*asked)]
        assert replies == [b"%d" % number for number in range(8)]


async def test_callers_get_no_responders_at_once_after_a_stop(nats_url: str) -> None:
    async with a_bus(nats_url) as bus, a_client(nats_url) as client, serving(bus) as responder:
        await responder.stop()
        for subject in (LIST, "$SRV.PING"):
            with pytest.raises(nats.errors.NoRespondersError):
                await client.request(subject, b"", timeout=60)


async def test_discovery_answers_until_the_last_request_is_answered(nats_url: str) -> None:
    gate = Gate()
    async with (
        a_bus(nats_url) as bus,
        a_client(nats_url) as client,
        serving(bus, gate.handle) as responder,
    ):
        asked = asyncio.create_task(client.request(LIST, b"", timeout=60))
        await eventually(lambda: gate.seen)
        stopping = asyncio.create_task(responder.stop())
        await eventually(lambda: refused(client, LIST))
        assert (await client.request("$SRV.PING", b"", timeout=60)).data
        gate.open.set()
        await asyncio.gather(asked, stopping)


async def refused(client: Client, subject: str) -> bool:
    try:
        await client.request(subject, b"", timeout=1)
    except nats.errors.NoRespondersError:
        return True
    except nats.errors.TimeoutError:
        return False
    return False


async def test_every_request_is_refused_when_the_drain_times_out(
    nats_url: str,
) -> None:
    gate, events = Gate(), list[ResponderEvent]()
    async with (
        a_bus(nats_url) as bus,
        a_client(nats_url) as client,
        serving(bus, gate.handle, events, concurrency=1, drain_timeout_s=0.05) as responder,
    ):
        asked = [
            asyncio.create_task(client.request(LIST, b"%d" % number, timeout=60))
            for number in range(3)
        ]
        await eventually(lambda: responder.waiting == 2)
        await responder.stop()
        for reply in await asyncio.gather(*asked):
            assert reply.headers is not None
            assert reply.headers["Nats-Service-Error-Code"] == "503"
            assert reply.data.startswith(b"The service is stopping")
        assert gate.seen == [b"0"]
        assert events == [ResponderEvent.CANCELLED]


def reached(done: list[bytes], count: int) -> bool:
    return len(done) >= count


async def test_a_rolling_restart_under_sixty_callers_loses_and_doubles_nothing(
    nats_url: str,
) -> None:
    done: list[bytes] = []

    async def work(request: Request) -> Reply:
        await asyncio.sleep(0.002)
        done.append(request.body)
        return await echo(request)

    async def restarts() -> None:
        for generation in range(6):
            async with a_bus(nats_url) as bus, serving(bus, work, id=f"r{generation}"):
                enough = len(done) + 200
                await eventually(partial(reached, done, enough))

    async with a_bus(nats_url) as bus, a_client(nats_url) as client, serving(bus, work, id="r"):
        rolling = asyncio.create_task(restarts())

        async def caller(name: int) -> list[bytes]:
            answers: list[bytes] = []
            while not rolling.done():
                body = b"%d-%d" % (name, len(answers))
                subject = operations()[name % 8].subject
                answers.append((await client.request(subject, body, timeout=60)).data)
                assert answers[-1] == body
            return answers

        answers = await asyncio.gather(*(caller(name) for name in range(60)))
        await rolling
    given = [body for each in answers for body in each]
    assert len(given) > 1200
    assert sorted(done) == sorted(given)
    assert len(set(done)) == len(done)


async def test_a_lost_connection_comes_back_with_its_subscriptions(nats_url: str) -> None:
    events: list[BusEvent] = []
    async with a_bus(nats_url, observe=events.append) as bus, serving(bus):
        await bus.client.force_reconnect()
        await eventually(lambda: BusEvent.RECONNECTED in events)
        await probe(bus, wait=60)  # behind the subscriptions, which the server may not have read
        async with a_client(nats_url) as client:
            assert (await client.request(LIST, b"still here", timeout=60)).data == b"still here"
    assert BusEvent.DISCONNECTED in events
    assert events[-1] is BusEvent.CLOSED
