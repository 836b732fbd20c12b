"""The connection: reports failures, waits out outages, survives malformed bytes."""

import asyncio
import time
from contextlib import nullcontext
from pathlib import Path

import pytest

from devstack.embedded import Nats, embedded_nats
from service.bus.client import BusEvent, NatsConnection, read_headers
from service.bus.connection import (
    BusSettings,
    BusUnavailableError,
    SubscriptionsDeniedError,
    backoff,
    confirm_subscriptions,
    connect,
    probe,
)
from service.bus.micro import own_ping
from service.requests.responder import ResponderEvent
from tests.support.bus_service import a_bus, a_client, identity, serving
from tests.support.eventually import eventually
from tests.support.raw_nats import Wire, a_wire, hpub, pub
from tests.support.trouble import frozen

LIST = "ext.scheduler.list"
LISTENER_ONLY = """
authorization { users: [
  { user: service, password: secret, permissions: {
      subscribe: ["_INBOX_service.>", "$SRV.>"], publish: ["_INBOX_service.>", "$SRV.>"] } }
] }
"""


@pytest.fixture
def narrow_url(tmp_path: Path) -> str:
    config = tmp_path / "nats.conf"
    config.write_text(LISTENER_ONLY)
    return str(config)


async def test_a_denied_subscription_is_detected_at_the_start(narrow_url: str) -> None:
    with embedded_nats(config=Path(narrow_url)) as server:
        events: list[BusEvent] = []
        async with a_bus(
            server.url, user="service", password="secret", observe=events.append
        ) as bus:
            with pytest.raises(SubscriptionsDeniedError, match=r"ext\.scheduler\.list"):
                async with serving(bus):
                    pass
            assert events.count(BusEvent.DENIED) == 8
            with pytest.raises(BusUnavailableError, match="denied"):
                await probe(bus)


async def test_wrong_credentials_end_the_attempt_with_one_clear_line(narrow_url: str) -> None:
    with embedded_nats(config=Path(narrow_url)) as server:
        settings = BusSettings(servers=(server.url,), user="service", password="wrong")
        with pytest.raises(BusUnavailableError, match="refused user 'service'") as refused:
            await connect(settings)
        assert "\n" not in str(refused.value)
        assert "wrong" not in str(refused.value)


async def test_a_connection_attempt_without_a_server_ends_with_its_timeout(
    nats_server: Nats,
) -> None:
    await asyncio.to_thread(nats_server.server.stop)
    server = nats_server.url.replace("//", "//someone:secret@")
    began = time.monotonic()
    with pytest.raises(BusUnavailableError, match=r"no NATS server at 127\.0\.0\.1") as refused:
        await connect(BusSettings(servers=(server,), connect_timeout=0.3))
    assert 0.2 < time.monotonic() - began < 60
    assert "secret" not in str(refused.value)


async def test_a_connection_attempt_ends_though_its_cancellation_is_lost(
    nats_server: Nats, monkeypatch: pytest.MonkeyPatch
) -> None:
    await asyncio.to_thread(nats_server.server.stop)
    # Of Python 3.11's wait_for: a cancellation is lost when what it waits for has just ended.
    monkeypatch.setattr(asyncio, "timeout", lambda _seconds: nullcontext())
    with pytest.raises(BusUnavailableError, match="no NATS server at"):
        await connect(BusSettings(servers=(nats_server.url,), connect_timeout=0.3))


async def test_the_client_waits_for_a_server_that_starts_late(nats_server: Nats) -> None:
    await asyncio.to_thread(nats_server.server.stop)
    waiting = asyncio.create_task(connect(BusSettings(servers=(nats_server.url,))))
    await asyncio.to_thread(nats_server.server.start)
    bus = await waiting
    assert bus.client.is_connected
    await bus.close()


async def test_the_service_answers_again_after_a_server_restart(nats_server: Nats) -> None:
    events: list[BusEvent] = []
    async with a_bus(nats_server.url, observe=events.append) as bus, serving(bus):
        await asyncio.to_thread(nats_server.server.kill)
        await eventually(lambda: BusEvent.DISCONNECTED in events)
        with pytest.raises(BusUnavailableError, match="not connected"):
            await probe(bus)
        await asyncio.to_thread(nats_server.server.start)
        await eventually(lambda: BusEvent.RECONNECTED in events)
        await probe(bus, wait=60)  # behind the subscriptions, which the server may not have read
        async with a_client(nats_server.url) as client:
            assert (await client.request(LIST, b"hello", timeout=60)).data == b"hello"
        assert not bus.closed.is_set()


async def test_subscriptions_are_confirmed_after_a_server_outage(
    nats_server: Nats,
) -> None:
    events: list[BusEvent] = []
    async with a_bus(nats_server.url, observe=events.append) as bus:
        await asyncio.to_thread(nats_server.server.kill)
        await eventually(lambda: BusEvent.DISCONNECTED in events)
        confirming = asyncio.create_task(confirm_subscriptions(bus))
        await asyncio.to_thread(nats_server.server.start)
        await confirming
        assert bus.client.is_connected


async def test_a_permanently_closed_connection_is_reported_once(nats_url: str) -> None:
    async with a_bus(nats_url) as bus:
        await bus.client.close()  # as the library does by itself when the server says so
        assert bus.closed.is_set()
        assert "closed permanently" in bus.closed_reason
        with pytest.raises(BusUnavailableError, match="does not confirm subscriptions: nats: "):
            await confirm_subscriptions(bus)
    async with a_bus(nats_url) as other:
        await other.close()
        assert not other.closed.is_set()


async def test_a_probe_makes_the_round_trip_through_the_server(nats_server: Nats) -> None:
    async with a_bus(nats_server.url) as bus, serving(bus):
        assert await probe(bus, wait=60) > 0
        assert await probe(bus, own_ping(identity()), wait=60) > 0
        with pytest.raises(BusUnavailableError, match="no way through"):
            await probe(bus, "$SRV.PING.ext-scheduler.nobody")


@pytest.mark.parametrize(
    "message",
    [
        hpub(LIST, b"_INBOX.answer", b"NATS/1.0 \xff\xfe\xfd\r\n\r\n", b"x"),
        hpub(LIST, b"_INBOX.answer", b"NATS/1.0 503 \xff\r\n\r\n", b"x"),
        hpub(LIST, b"_INBOX.answer", b"NATS/1.0", b"x"),
        hpub(LIST, b"_INBOX.answer", b"?", b"x"),
        hpub(LIST, b"_INBOX.answer", b"NATS/1.0\r\nA\xff: \xff\r\n: x\r\nb\r\n\r\n", b"x"),
        hpub(LIST, b"_INBOX.answer", b"NATS/1.0\r\nExt-Deadline: 1\xff\r\n\r\n", b"x"),
        hpub(LIST, b"_INBOX.answer", b"NATS/1.0 503\r\n\r\n", b"x"),
        hpub(LIST, b"_INBOX.answer", b"NATS/1.0\r\nA: 1\r\nA: 2\r\n\r\n", b"x"),
        hpub(LIST, b"_INBOX.answer", b"NATS/1.0\r\n\r\n", b"x"),
    ],
)
async def test_malformed_headers_are_answered_and_keep_the_subscription_alive(
    nats_url: str, message: bytes
) -> None:
    async with (
        a_bus(nats_url, ping_interval=60) as bus,
        serving(bus),
        a_wire(nats_url) as wire,
        a_client(nats_url) as client,
    ):
        await wire.send(b"SUB _INBOX.answer 1\r\n")
        wire.writer.write(message)
        await wire.until(b"HMSG _INBOX.answer")
        assert (await client.request(LIST, b"and then", timeout=60)).data == b"and then"
        assert bus.client.stats["reconnects"] == 0


async def test_a_reply_subject_that_is_no_text_is_dropped_and_keeps_the_subscription_alive(
    nats_url: str,
) -> None:
    events: list[BusEvent] = []
    async with (
        a_bus(nats_url, observe=events.append, ping_interval=60) as bus,
        serving(bus),
        a_wire(nats_url) as wire,
        a_client(nats_url) as client,
    ):
        await wire.send(pub(LIST, b"_INBOX.\xff\xfe", b"x"))
        await eventually(lambda: BusEvent.MALFORMED_MESSAGE in events)
        assert (await client.request(LIST, b"and then", timeout=60)).data == b"and then"


async def test_an_empty_reply_subject_means_no_reply_subject(nats_url: str) -> None:
    events: list[ResponderEvent] = []
    async with a_bus(nats_url) as bus, serving(bus, events=events), a_wire(nats_url) as wire:
        await wire.send(b"PUB %s 0\r\n\r\n" % LIST.encode())
        await eventually(lambda: events == [ResponderEvent.NO_REPLY_SUBJECT])


async def test_messages_prove_the_connection_while_answers_to_pings_wait_behind_them() -> None:
    pings = 0

    async def busy_server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"server_id":"busy","max_payload":1048576,"headers":true}\r\n')

        async def send() -> None:
            while True:
                writer.write(b"MSG x 1 2\r\nok\r\n")
                await asyncio.sleep(0.01)

        nonlocal pings
        sending = None
        while line := await reader.readline():
            if line.startswith(b"SUB"):
                sending = asyncio.create_task(send())
            elif line.startswith(b"PING"):
                pings += 1
                if sending is None:
                    writer.write(b"PONG\r\n")
        if sending is not None:
            sending.cancel()
        writer.close()

    async with await asyncio.start_server(busy_server, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        events: list[BusEvent] = []
        settings = BusSettings(servers=(f"nats://127.0.0.1:{port}",), ping_interval=0.2)
        bus = await connect(settings, observe=events.append)
        await bus.client.subscribe("x", cb=_ignore)
        await eventually(lambda: pings > 8)
        assert events == [BusEvent.CONNECTED]
        await bus.close()


async def _ignore(_message: object) -> None:
    """Do nothing."""


async def test_flush_returns_after_the_server_read_everything_before_it() -> None:
    lines: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"headers":true,"max_payload":1048576}\r\n')
        wire = Wire(reader, writer)
        while line := await wire.reader.readline():
            lines.append(line)
            if line == b"PING\r\n":
                writer.write(b"PONG\r\n")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        client = NatsConnection()
        await client.connect(f"nats://127.0.0.1:{port}")
        await client.subscribe("a")
        await client.subscribe("b")
        await client.flush()
        await client.close()
    assert [line for line in lines if line.startswith((b"SUB", b"PING"))] == [
        b"PING\r\n",  # of the handshake
        b"SUB a  1\r\n",
        b"SUB b  2\r\n",
        b"PING\r\n",
    ]


@pytest.mark.parametrize(
    ("block", "headers"),
    [
        (b"NATS/1.0\r\nA: 1\r\nB:2\r\n\r\n", {"A": "1", "B": "2"}),
        (b"NATS/1.0\r\nA:  x: y \t\r\n\r\n", {"A": "x: y"}),
        (b"NATS/1.0\r\nA: 1\r\nA: 2\r\na: 3\r\n\r\n", {"A": "2", "a": "3"}),
        (b"NATS/1.0\r\nA: \xc3\xa4\xff\r\n\r\n", {"A": "ä\ufffd"}),
        (b"NATS/1.0\r\nno colon\r\nA:\r\n\r\n", {"A": ""}),
        (b"NATS/1.0\r\n\r\n", None),
        (b"NATS/1.0\r\n", None),
    ],
)
def test_headers_are_read_as_they_are_written(block: bytes, headers: object) -> None:
    assert read_headers(block) == headers


def test_the_wait_between_attempts_doubles_up_to_its_limit_and_is_spread() -> None:
    settings = BusSettings(reconnect_wait=0.1, reconnect_wait_limit=5.0)
    for failures, longest in ((1, 0.2), (3, 0.8), (10, 5.0), (10_000, 5.0)):
        waits = {backoff(failures, settings) for _ in range(50)}
        assert len(waits) > 10
        assert all(longest / 2 <= wait <= longest for wait in waits)


async def test_subscriptions_that_are_allowed_are_confirmed(nats_url: str) -> None:
    async with a_bus(nats_url) as bus:
        await bus.client.subscribe("anything")
        await confirm_subscriptions(bus)


async def test_a_frozen_server_is_found_by_its_missing_pongs(nats_server: Nats) -> None:
    assert BusSettings().ping_interval * (BusSettings().ping_limit + 1) < 10
    events: list[BusEvent] = []
    async with a_bus(nats_server.url, observe=events.append) as bus:
        with frozen([nats_server.server.pid]):
            await eventually(lambda: BusEvent.DISCONNECTED in events)
            assert not bus.client.is_connected
        await eventually(lambda: bus.client.is_connected)
        await probe(bus, wait=60)
