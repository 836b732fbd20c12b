"""Questions over one inbox: each gets its own answer or its own failure, whatever else arrives."""

import asyncio
from collections.abc import AsyncIterator

import nats.errors
import pytest
from nats.aio.msg import Msg

from devstack.embedded import Nats
from service.bus.client import NatsConnection, read_headers, write_headers
from service.bus.reply_inbox import Inbox, InboxReply
from tests.support.bus_service import a_client
from tests.support.eventually import eventually

SUBJECT = "ext.runner.execute"
HEADERS = write_headers({"Kind": "test"})
GARBAGE = [b"\xff\xfe", b"\xff: \xfe\r\n", b": :\r\n\r\n\r\n", b"\0" * 40]


@pytest.fixture
async def client(nats_url: str) -> AsyncIterator[NatsConnection]:
    async with a_client(nats_url) as client:
        yield client


@pytest.fixture
async def other(nats_url: str) -> AsyncIterator[NatsConnection]:
    async with a_client(nats_url) as client:
        yield client


async def answering(other: NatsConnection, delays: dict[bytes, float] | None = None) -> list[str]:
    """Let ``other`` answer each question with its own body, after its delay; return reply subjects.

    A negative delay means never.
    """
    replies: list[str] = []
    tasks = set()

    async def answer(body: bytes, reply: str, delay: float) -> None:
        await asyncio.sleep(delay)
        await other.publish(reply, body, headers={"Echo": body.decode()})

    async def receive(message: Msg) -> None:
        replies.append(message.reply)
        delay = (delays or {}).get(message.data, 0.0)
        if delay >= 0:
            task = asyncio.create_task(answer(message.data, message.reply, delay))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    await other.subscribe(SUBJECT, cb=receive)
    await other.flush()
    return replies


async def asked(inbox: Inbox, body: bytes, timeout_s: float = 60.0) -> InboxReply:
    return await inbox.ask(SUBJECT, HEADERS, body, timeout_s)


async def test_each_of_many_requests_gets_its_own_answer(
    client: NatsConnection, other: NatsConnection
) -> None:
    bodies = [f"question {n}".encode() for n in range(200)]
    replies = await answering(other, {body: 0.05 - n / 5000 for n, body in enumerate(bodies)})
    inbox = Inbox(client)
    answers = await asyncio.gather(*(asked(inbox, body) for body in bodies))
    assert [answer.body for answer in answers] == bodies
    assert [answer.header("Echo") for answer in answers] == [body.decode() for body in bodies]
    assert answers[0].header("Kind") is None
    assert len(set(replies)) == len(bodies)
    prefixes = {reply.rpartition(".")[0] for reply in replies}
    assert len(prefixes) == 1
    assert prefixes.pop().startswith("_INBOX.")


async def test_no_responder_differs_from_no_answer(
    client: NatsConnection, other: NatsConnection
) -> None:
    inbox = Inbox(client)
    with pytest.raises(nats.errors.NoRespondersError):
        await asked(inbox, b"x")
    await answering(other, {b"x": -1})
    with pytest.raises(TimeoutError):
        await asked(inbox, b"x", 0.05)


async def test_each_request_has_its_own_timeout(
    client: NatsConnection, other: NatsConnection
) -> None:
    replies = await answering(other, {b"long": -1, b"short": -1, b"shorter": -1})
    inbox = Inbox(client)
    long = asyncio.create_task(asked(inbox, b"long", 60))
    await eventually(lambda: len(replies) == 1)

    async def expect_none(body: bytes, timeout_s: float) -> None:
        clock = asyncio.get_running_loop().time
        earliest = clock() + timeout_s
        with pytest.raises(TimeoutError):
            await asked(inbox, body, timeout_s)
        assert clock() >= earliest

    await asyncio.gather(expect_none(b"short", 0.2), expect_none(b"shorter", 0.1))
    assert not long.done()
    await other.publish(replies[0], b"at last")
    assert (await long).body == b"at last"


async def test_a_late_answer_is_dropped(client: NatsConnection, other: NatsConnection) -> None:
    replies = await answering(other, {b"x": -1})
    inbox = Inbox(client)
    with pytest.raises(TimeoutError):
        await asked(inbox, b"x", 0.05)
    cancelled = asyncio.create_task(asked(inbox, b"x"))
    await eventually(lambda: len(replies) == 2)
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    for reply in replies:
        await other.publish(reply, b"late")
    assert (await asked(inbox, b"y")).body == b"y"


async def test_only_the_first_answer_counts(client: NatsConnection, other: NatsConnection) -> None:
    async def twice(message: Msg) -> None:
        await other.publish(message.reply, b"first")
        await other.publish(message.reply, b"second")

    await other.subscribe(SUBJECT, cb=twice)
    await other.flush()
    inbox = Inbox(client)
    assert [(await asked(inbox, b"x")).body for _ in range(3)] == [b"first"] * 3


@pytest.mark.parametrize("block", GARBAGE)
async def test_a_malformed_answer_keeps_the_inbox_alive(
    client: NatsConnection, other: NatsConnection, block: bytes
) -> None:
    async def answer(message: Msg) -> None:
        await other.publish(message.reply.rpartition(".")[0] + ".unknown", b"stray")
        headers = b"" if message.data == b"good" else b"NATS/1.0\r\n" + block + b"\r\n\r\n"
        if headers:
            await other.publish_raw(message.reply, "nowhere", headers, b"")
        else:
            await other.publish(message.reply, b"good")

    await other.subscribe(SUBJECT, cb=answer)
    await other.flush()
    inbox = Inbox(client)
    odd = await asked(inbox, b"odd")
    assert odd.body == b""
    assert odd.header("Nats-Service-Error") is None
    assert (await asked(inbox, b"good")).body == b"good"


async def test_requests_continue_after_a_server_outage(nats_server: Nats) -> None:
    forever = {"max_reconnect_attempts": -1, "reconnect_time_wait": 0.1}
    async with a_client(nats_server.url, **forever) as client:
        inbox = Inbox(client)
        with pytest.raises(nats.errors.NoRespondersError):
            await asked(inbox, b"x")
        await asyncio.to_thread(nats_server.server.stop)
        await eventually(lambda: not client.is_connected)
        kept = asyncio.create_task(asked(inbox, b"kept", 60))
        await asyncio.to_thread(nats_server.server.start)
        await eventually(lambda: client.is_connected)
        with pytest.raises(nats.errors.NoRespondersError):
            await kept
        async with a_client(nats_server.url) as other:
            await answering(other)
            assert (await asked(inbox, b"x")).body == b"x"


async def test_a_request_beyond_the_limits_of_the_server_is_refused_by_the_client(
    client: NatsConnection,
) -> None:
    inbox = Inbox(client)
    with pytest.raises(nats.errors.MaxPayloadError):
        await asked(inbox, b"x" * client.max_payload)
    with pytest.raises(nats.errors.NoRespondersError):
        await asked(inbox, b"x")
    await client.close()
    with pytest.raises(nats.errors.ConnectionClosedError):
        await asked(inbox, b"x")


async def test_the_client_buffers_a_bounded_amount_during_an_outage(nats_server: Nats) -> None:
    forever = {"max_reconnect_attempts": -1, "pending_size": 100_000}
    async with a_client(nats_server.url, **forever) as client:
        inbox = Inbox(client)
        with pytest.raises(nats.errors.NoRespondersError):
            await asked(inbox, b"x")
        await asyncio.to_thread(nats_server.server.stop)
        await eventually(lambda: not client.is_connected)
        with pytest.raises(nats.errors.OutboundBufferLimitError):
            await asked(inbox, b"x" * 100_000)


def test_headers_decode_to_what_was_encoded() -> None:
    headers = {"Content-Type": "application/json", "Ext-Context": "a.b.c", "Empty": ""}
    assert read_headers(write_headers(headers)) == headers


@pytest.mark.parametrize("value", ["a\r\nForged: yes", "a\nb", "a\rb"])
def test_a_header_value_cannot_inject_another_header(value: str) -> None:
    with pytest.raises(ValueError, match="line break"):
        write_headers({"Trace": value})
