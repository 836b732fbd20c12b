"""The responder on a real server: every request is answered once, whatever arrives."""

import asyncio
import time

import pytest

from contracts.deadline import deadline_passed
from service.messages import Reply, Request
from service.requests.responder import ResponderEvent
from tests.support.bus_service import Gate, a_bus, a_client, echo, operations, serving
from tests.support.eventually import eventually

LIST = "ext.scheduler.list"


async def test_a_request_is_answered_with_headers_of_the_reply_only(nats_url: str) -> None:
    async with a_bus(nats_url) as bus, serving(bus), a_client(nats_url) as client:
        headers = {"Ext-Context": "secret", "Ext-Request-Id": "the caller's"}
        reply = await client.request(LIST, b"body", timeout=60, headers=headers)
        assert reply.data == b"body"
        assert reply.headers == {"Ext-Request-Id": "list"}


async def test_a_request_without_headers_is_answered(nats_url: str) -> None:
    async with a_bus(nats_url) as bus, serving(bus), a_client(nats_url) as client:
        assert (await client.request(LIST, b"", timeout=60)).data == b""


async def test_a_handler_gets_operation_audience_and_time_of_arrival(nats_url: str) -> None:
    seen: list[Request] = []

    async def note(request: Request) -> Reply:
        seen.append(request)
        return await echo(request)

    before = time.time()
    async with a_bus(nats_url) as bus, serving(bus, note), a_client(nats_url) as client:
        for each in operations():
            await client.request(each.subject, b"", timeout=60)
    assert [(each.op, each.audience) for each in seen] == [
        (each.op, each.audience) for each in operations()
    ]
    assert all(before - 1 <= each.received <= time.time() + 1 for each in seen)


async def test_a_service_error_travels_in_the_headers_of_the_protocol(nats_url: str) -> None:
    async def deny(_request: Request) -> Reply:
        return Reply({}, b"no", error=(403, "not\r\nyou"))

    async with a_bus(nats_url) as bus, serving(bus, deny), a_client(nats_url) as client:
        reply = await client.request(LIST, b"", timeout=60)
        assert reply.headers is not None
        assert reply.headers["Nats-Service-Error-Code"] == "403"
        assert reply.headers["Nats-Service-Error"].split() == ["not", "you"]
        assert len(reply.headers) == 2


async def test_one_slow_request_holds_up_no_other(nats_url: str) -> None:
    gate = Gate()
    async with a_bus(nats_url) as bus, a_client(nats_url) as client:

        async def slow_or_not(request: Request) -> Reply:
            return await (gate.handle(request) if request.body == b"slow" else echo(request))

        async with serving(bus, slow_or_not):
            slow = asyncio.create_task(client.request(LIST, b"slow", timeout=60))
            await eventually(lambda: gate.seen)
            assert (await client.request(LIST, b"fast", timeout=60)).data == b"fast"
            gate.open.set()
            assert (await slow).data == b"slow"


async def test_requests_beyond_running_and_waiting_are_refused_at_once(nats_url: str) -> None:
    gate, events = Gate(), list[ResponderEvent]()
    async with (
        a_bus(nats_url) as bus,
        a_client(nats_url) as client,
        serving(bus, gate.handle, events, concurrency=2, waiting=3) as responder,
    ):
        held = [
            asyncio.create_task(client.request(LIST, b"%d" % number, timeout=60))
            for number in range(5)
        ]
        await eventually(lambda: (responder.running, responder.waiting) == (2, 3))
        refused = await client.request(LIST, b"one too many", timeout=60)
        assert refused.headers is not None
        assert refused.headers["Nats-Service-Error-Code"] == "503"
        assert events == [ResponderEvent.QUEUE_FULL]
        gate.open.set()
        assert [reply.data for reply in await asyncio.gather(*held)] == [
            b"%d" % number for number in range(5)
        ]
        assert gate.seen == [b"%d" % number for number in range(5)]
        await eventually(lambda: (responder.running, responder.waiting) == (0, 0))


async def test_waiting_requests_are_bounded_in_bytes_too(nats_url: str) -> None:
    gate, events = Gate(), list[ResponderEvent]()
    async with (
        a_bus(nats_url) as bus,
        a_client(nats_url) as client,
        serving(bus, gate.handle, events, concurrency=1, waiting_bytes=1000) as responder,
    ):
        running = asyncio.create_task(client.request(LIST, b"", timeout=60))
        waiting = asyncio.create_task(client.request(LIST, b"x" * 900, timeout=60))
        await eventually(lambda: responder.waiting == 1)
        refused = await client.request(LIST, b"x" * 200, timeout=60)
        assert refused.data.startswith(b"The service is busy")
        gate.open.set()
        await asyncio.gather(running, waiting)


async def test_what_is_refused_by_its_looks_does_not_wait(nats_url: str) -> None:
    def screen(request: Request) -> Reply | None:
        return Reply({}, b"refused") if request.body == b"bad" else None

    gate = Gate()
    async with (
        a_bus(nats_url) as bus,
        a_client(nats_url) as client,
        serving(bus, gate.handle, screen=screen, concurrency=1) as responder,
    ):
        running = asyncio.create_task(client.request(LIST, b"good", timeout=60))
        await eventually(lambda: responder.running == 1)
        assert (await client.request(LIST, b"bad", timeout=60)).data == b"refused"
        assert responder.waiting == 0
        gate.open.set()
        assert (await running).data == b"good"


async def test_what_waited_for_too_long_is_refused_when_its_turn_comes(nats_url: str) -> None:
    gate, events = Gate(), list[ResponderEvent]()
    async with (
        a_bus(nats_url) as bus,
        a_client(nats_url) as client,
        serving(bus, gate.handle, events, concurrency=1, max_wait_s=0.0) as responder,
    ):
        first = asyncio.create_task(client.request(LIST, b"1", timeout=60))
        await eventually(lambda: responder.running == 1 or events != [])
        late = asyncio.create_task(client.request(LIST, b"2", timeout=60))
        gate.open.set()
        replies = await asyncio.gather(first, late)
        assert {reply.data for reply in replies} == {
            b"The request waited for too long, please try again"
        }
        assert events == [ResponderEvent.WAITED_TOO_LONG] * 2
        assert gate.seen == []


async def test_a_message_without_reply_subject_is_dropped_and_counted(nats_url: str) -> None:
    gate, events = Gate(), list[ResponderEvent]()
    gate.open.set()
    async with (
        a_bus(nats_url) as bus,
        a_client(nats_url) as client,
        serving(bus, gate.handle, events),
    ):
        await client.publish(LIST, b"nobody waits")
        await eventually(lambda: events == [ResponderEvent.NO_REPLY_SUBJECT])
        assert gate.seen == []


@pytest.mark.parametrize(
    "reply", ["ext.runner.execute", "inbox.x", "x._INBOX.y", "$SYS.x", "_R_x", "_INBOX.>"]
)
async def test_a_reply_cannot_be_aimed_at_another_subject(nats_url: str, reply: str) -> None:
    events: list[ResponderEvent] = []
    async with (
        a_bus(nats_url) as bus,
        a_client(nats_url) as client,
        serving(bus, events=events),
    ):
        victim = await client.subscribe(reply)
        await client.publish(LIST, b"", reply=reply)
        await eventually(lambda: events)
        await client.flush()
        assert victim.pending_msgs == 0


@pytest.mark.parametrize("reply", ["_INBOX.a.b", "_INBOX_runner.a"])
async def test_a_reply_goes_to_every_allowed_prefix(nats_url: str, reply: str) -> None:
    async with a_bus(nats_url) as bus, a_client(nats_url) as client, serving(bus):
        inbox = await client.subscribe(reply)
        await client.publish(LIST, b"hello", reply=reply)
        assert (await inbox.next_msg(timeout=60)).data == b"hello"


async def test_a_request_that_times_out_while_waiting_is_not_executed(
    nats_url: str,
) -> None:
    gate, events = Gate(), list[ResponderEvent]()
    async with (
        a_bus(nats_url) as bus,
        a_client(nats_url) as client,
        serving(bus, gate.handle, events, concurrency=1),
    ):
        first = asyncio.create_task(client.request(LIST, b"first", timeout=60))
        await eventually(lambda: gate.seen == [b"first"])
        deadline = int(time.time() * 1000) + 50
        second = asyncio.create_task(
            client.request(LIST, b"second", timeout=60, headers={"Ext-Deadline": str(deadline)})
        )
        await eventually(lambda: time.time() * 1000 > deadline)
        gate.open.set()
        assert (await first).data == b"first"
        assert (await second).data.startswith(b"The deadline")
        assert gate.seen == [b"first"]
        assert events == [ResponderEvent.DEADLINE_PASSED]


@pytest.mark.parametrize(
    ("deadline", "passed"),
    [
        ("999999", True),
        ("1000000", True),
        ("1000001", False),
        (None, False),
        ("", False),
        ("soon", False),
        ("-1", False),
        ("1.5", False),
        ("٣", False),
        (" 1", False),
        ("1" * 17, False),
        ("9" * 5000, False),
    ],
)
def test_a_deadline_counts_only_as_a_decimal_number_in_the_past(
    deadline: str | None, passed: bool
) -> None:
    assert deadline_passed(deadline, 1000.0) is passed


@pytest.mark.parametrize("fault", [RuntimeError("secret"), asyncio.CancelledError(), KeyError()])
async def test_an_exception_of_a_handler_is_answered_without_its_text(
    nats_url: str, fault: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    events: list[ResponderEvent] = []

    async def fail(request: Request) -> Reply:
        if request.body == b"fail":
            raise fault
        return await echo(request)

    async with (
        a_bus(nats_url) as bus,
        a_client(nats_url) as client,
        serving(bus, fail, events, concurrency=1) as responder,
    ):
        for _ in range(3):
            reply = await client.request(LIST, b"fail", timeout=60)
            assert reply.headers is not None
            assert reply.headers["Nats-Service-Error-Code"] == "500"
            assert b"secret" not in reply.data
        assert (await client.request(LIST, b"well", timeout=60)).data == b"well"
        assert events == [ResponderEvent.FAULT] * 3
        await eventually(lambda: responder.running == 0)
    assert len([record for record in caplog.records if record.exc_info]) == 3


async def test_an_answer_too_large_for_the_bus_becomes_a_refusal(nats_url: str) -> None:
    async def boast(request: Request) -> Reply:
        return Reply({}, b"x" * (bus.client.max_payload - len(request.body)))

    events: list[ResponderEvent] = []
    async with (
        a_bus(nats_url) as bus,
        a_client(nats_url) as client,
        serving(bus, boast, events),
    ):
        for excess in (b"", b"x" * 10):
            reply = await client.request(LIST, excess, timeout=60)
            assert reply.data == b"The answer is too large for the bus"
            assert reply.headers is not None
            assert reply.headers["Nats-Service-Error-Code"] == "500", "asking again is no use"
        whole = await client.request(LIST, b"x" * 10_000, timeout=60)
        assert len(whole.data) == bus.client.max_payload - 10_000
        assert events == [ResponderEvent.REPLY_TOO_LARGE] * 2


async def test_replies_are_never_mixed_up_under_load(nats_url: str) -> None:
    async def shuffle(request: Request) -> Reply:
        await asyncio.sleep(len(request.body) % 7 / 1000)
        return await echo(request)

    async with (
        a_bus(nats_url) as bus,
        a_client(nats_url) as client,
        serving(bus, shuffle, concurrency=16, max_wait_s=60.0),
    ):

        async def ask(number: int) -> bool:
            each = operations()[number % len(operations())]
            body = b"%d:" % number + b"x" * (number % 13)
            reply = await client.request(each.subject, body, timeout=60)
            return reply.data == body and reply.headers == {"Ext-Request-Id": each.op}

        assert all(await asyncio.gather(*(ask(number) for number in range(1000))))
