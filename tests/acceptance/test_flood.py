"""A flood of refused messages beside honest callers: each of them is answered, and in time.

Figures are printed (``-s``). What is held is the outcome: an answer to every honest request, be it
``UNAVAILABLE``; the responder on the bus throughout; its memory.
"""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
import psutil
import pytest
from msgspec import Struct, field

from contracts.encoding import MAX_BODY_BYTES, Encoding, decode_map
from contracts.schedules import CreateInput
from tests.support.eventually import eventually
from tests.support.platform import Installed, install
from tests.support.raw_nats import Wire, a_wire, hpub
from tests.support.responders import responders
from tests.support.trouble import metric
from tests.support.wire_client import WireClient, WireReply, a_wire_client, header_block, signed

SECONDS = 10.0
PER_S = 3_600
BURST = 60
HONEST_EVERY_S = 0.05
WAITS_S = 90.0
"""For how long a caller waits here, only to end a hang; those of the client give up after 6 s."""
GROWTH_ALLOWED = 64 * 1024 * 1024
"""What a responder may hold of messages that wait."""
LARGE_PER_S = 100
UNANSWERED_S = 0.3
"""A flood waits where the refusals of so many seconds of it are outstanding, which a machine that
keeps up with it never sees: on a slower one it would be a flood of another size."""
LOSSES = (
    "extension_scheduler_nats_reconnects_total",
    'extension_scheduler_messages_dropped_total{reason="slow_consumer"}',
)
"""The link, and what the library drops because it waits for too long."""
INBOX = "_INBOX.flood.1"
UNLIMITED = {"changes_per_minute": "1000000", "max_schedules": "1000000"}


class Answers(Struct):
    """What honest callers got, and the seconds that each waited."""

    codes: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)


class Flood(Struct, frozen=True):
    """A burst of messages, and how often in a second it is sent."""

    name: str
    messages: bytes
    number: int
    per_s: float


def forged(installed: Installed, body: bytes = b"") -> bytes:
    """Return a create with an honest token whose signature is of something else."""
    fields = {"endpoint": "/api/heartbeat", "cron": "0 * * * *"}
    subject, headers, own = signed("create", fields, installed, Encoding.MSGPACK, uuid4())
    token = headers.partition(b"Ext-Context: ")[2].partition(b"\r\n")[0]
    bad = token[:-6] + (b"AAAAAA" if token[-6:] != b"AAAAAA" else b"BBBBBB")
    return hpub(subject, INBOX.encode(), headers.replace(token, bad), body or own)


def malformed(body: bytes) -> bytes:
    """Return a create with nothing like a token."""
    headers = header_block(b"Ext-Context: " + b"x" * 300)
    return hpub("ext.scheduler.create", INBOX.encode(), headers, body)


def floods(installed: Installed) -> list[Flood]:
    """Return the kinds of refused messages."""
    small = b"".join(forged(installed) for _ in range(BURST))
    body = bytes(MAX_BODY_BYTES)
    large = b"".join(forged(installed, body) for _ in range(4))
    return [
        Flood("bad signatures", small, BURST, PER_S / BURST),
        Flood("no tokens", malformed(b"{}") * BURST, BURST, PER_S / BURST),
        Flood("bad signatures over 256 KiB", large, 4, LARGE_PER_S / 4),
    ]


@asynccontextmanager
async def flooded(url: str, flood: Flood) -> AsyncIterator[Counter[str]]:
    """Send bursts within the context, as many as are refused, up to the rate; count both."""
    sent = Counter[str]()
    most = flood.number * flood.per_s * UNANSWERED_S

    async def send(wire: Wire) -> None:
        began = time.monotonic()
        for number in count(1):
            wire.writer.write(flood.messages)
            await wire.writer.drain()
            sent["messages"] += flood.number
            await eventually(lambda: sent["messages"] - sent["refusals"] < most)
            await asyncio.sleep(max(0.0, began + number / flood.per_s - time.monotonic()))

    async with a_wire(url) as wire:
        await wire.send(f"SUB {INBOX} 1\r\n".encode())
        working = [asyncio.create_task(send(wire)), asyncio.create_task(refusals(wire, sent))]
        try:
            yield sent
            assert not any(task.done() for task in working), "the flood ended early"
        finally:
            for task in working:
                task.cancel()
            await asyncio.gather(*working, return_exceptions=True)


async def refusals(wire: Wire, sent: Counter[str]) -> None:
    """Count the answers to a flood."""
    while line := await wire.reader.readline():
        verb, *words = line.split()
        if verb in {b"MSG", b"HMSG"}:
            await wire.reader.readexactly(int(words[-1]) + 2)
            sent["refusals"] += 1


async def ask(client: WireClient, installed: Installed, number: int) -> WireReply:
    """Make an honest request: a create, or a list."""
    op, fields = (
        ("list", {})
        if number % 2
        else ("create", CreateInput(endpoint="/api/heartbeat", cron="0 * * * *"))
    )
    subject, headers, body = signed(op, fields, installed, Encoding.MSGPACK, UUID(int=number))
    return await client.request(subject, headers, body, within=WAITS_S)


async def honest_callers(client: WireClient, installs: list[Installed]) -> Answers:
    """Ask all the time, without waiting for one answer before the next question."""
    answers = Answers()

    async def call(number: int) -> None:
        began = time.monotonic()
        try:
            reply = await ask(client, installs[number % len(installs)], number)
        except TimeoutError:
            answers.codes["no answer"] += 1
            return
        answers.seconds.append(time.monotonic() - began)
        answers.codes[str(decode_map(reply.body, Encoding.MSGPACK).get("code", "ok"))] += 1

    async with asyncio.TaskGroup() as calls:
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            calls.create_task(call(next(numbers)))
            await asyncio.sleep(HONEST_EVERY_S)
    return answers


numbers = count(1)


@pytest.mark.timeout(600)
async def test_honest_callers_are_answered_beside_a_flood(
    tmp_path: Path, database: str, pool: asyncpg.Pool, nats_url: str
) -> None:
    installs = [await install(pool, tenant_id=f"tenant-{number}") for number in range(20)]
    async with (
        responders(1, tmp_path, database, nats_url, **UNLIMITED) as (process,),
        a_wire_client(nats_url) as client,
    ):
        memory = psutil.Process(process.popen.pid).memory_info
        for flood in floods(installs[0]):
            before = memory().rss
            began = time.monotonic()
            async with flooded(nats_url, flood) as sent:
                answers = await honest_callers(client, installs)
            grown, waited = memory().rss - before, sorted(answers.seconds)
            rate = sent["messages"] / (time.monotonic() - began)
            lost = {name: await metric(process, name) for name in LOSSES}
            sys.stdout.write(
                f"\n{flood.name}: {rate:,.0f} a second; honest callers: "
                f"{dict(answers.codes)}, median {waited[len(waited) // 2]:.3f} s, longest "
                f"{waited[-1]:.3f} s; {grown / 2**20:+.1f} MiB; {lost}\n"
            )
            assert set(answers.codes) <= {"ok", "UNAVAILABLE"}
            assert answers.codes["ok"] > 0
            assert grown < GROWTH_ALLOWED
            assert set(lost.values()) == {0.0}
