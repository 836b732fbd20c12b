"""Random, mutated and validly signed hostile messages to a real responder: answered, unharmed.

``make test`` sends some thousands. All of them:
``HOSTILE_MESSAGES=100000 make test PYTEST_ARGS="-k hostile -s"``; another stream with
``HOSTILE_SEED=<number>``. What was sent and answered is printed.
"""

import asyncio
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import aiohttp
import asyncpg
import msgspec
import psutil
import pytest
from msgspec import Struct, field

from contracts.encoding import MAX_BODY_BYTES
from contracts.errors import NUMBERS, Code
from contracts.schedules import CreateInput
from tests.support.hostile import Hostile, HostileMessages
from tests.support.platform import Installed, install
from tests.support.responders import PATIENT, Process, clients, host, ready, responders
from tests.support.wire_client import WireClient, WireReply, a_wire_client

MESSAGES = int(os.environ.get("HOSTILE_MESSAGES", "4000"))
SEED = int(os.environ.get("HOSTILE_SEED", "1"))
AT_ONCE = 64
GROWTH_ALLOWED = 20 * 1024 * 1024
AWAY_ALLOWED_S = 1.0
POLL_S = 0.1
SETTINGS = {**PATIENT, "changes_per_minute": "1000000"}
ERROR_HEADERS = {"Nats-Service-Error", "Nats-Service-Error-Code"}
ALWAYS = {"Content-Type", "Ext-Request-Id"}
RESULTS = {
    "list": {"schedules"},
    "get": {"schedule"},
    "getEndpoints": {"endpoints"},
    "create": {"success", "scheduleId"},
    "update": {"success"},
    "delete": {"success"},
}
FORGERIES = {"noise", "forged token", "tampered body", "other subject"}
ERROR_MEMBERS = {"success", "code", "error", "fieldErrors", "retryAfterMs"}
DECODERS = {
    "application/msgpack": msgspec.msgpack.Decoder(dict[str, object]).decode,
    "application/json": msgspec.json.Decoder(dict[str, object]).decode,
}


def judge(message: Hostile, reply: WireReply) -> tuple[str, dict[str, object]]:
    """Return what kind of answer it is, and its body; fails where it is not well-formed."""
    headers = dict(reply.headers)
    assert len(headers) == len(reply.headers)
    names = set(headers)
    assert names in (ALWAYS, ALWAYS | ERROR_HEADERS)
    request_id = UUID(headers["Ext-Request-Id"])
    body = DECODERS[headers["Content-Type"]](reply.body)
    code = body.get("code")
    if len(message.body) > MAX_BODY_BYTES:
        assert code == Code.VALIDATION_FAILED
    else:
        # An honest token is read before anything else; only what is not run has another id.
        assert message.jti in {None, request_id}
        assert message.kind not in FORGERIES or code == Code.UNAUTHORIZED
    if "Nats-Service-Error" in names:
        assert isinstance(code, str)
        assert headers["Nats-Service-Error-Code"] == str(NUMBERS[Code(code)])
        assert headers["Nats-Service-Error"] == body["error"]
    if code is None:
        assert set(body) == RESULTS[message.op]
        assert body.get("success", True) is True
        return "ok", body
    assert body["success"] is False
    assert set(body) <= ERROR_MEMBERS
    assert Code(str(code)) is not Code.INTERNAL
    assert code != Code.UNAVAILABLE or message.kind == "odd headers"
    return str(code), body


async def send_hostile(
    client: WireClient, stream: HostileMessages, count: int
) -> Counter[tuple[str, str]]:
    """Send that many; count (kind, answer)."""
    seen = Counter[tuple[str, str]]()
    left = iter(range(count))

    async def attacker() -> None:
        for _ in left:
            message = stream.message()
            reply = await client.request(
                f"ext.scheduler.{message.op}", message.headers, message.body
            )
            try:
                answer, body = judge(message, reply)
            except Exception as error:
                raise AssertionError(f"{error!r}\n{message}\n{reply}") from error
            seen[message.kind, answer] += 1
            if "scheduleId" in body:
                stream.schedule_ids[message.install].append(str(body["scheduleId"]))

    await asyncio.gather(*(attacker() for _ in range(AT_ONCE)))
    return seen


class Readiness(Struct):
    """What an honest poller of ``/readyz`` saw; ``absences`` are the answers that were not 200."""

    polls: int = 0
    longest_away_s: float = 0.0
    slowest_s: float = 0.0
    absences: Counter[str] = field(default_factory=Counter)


@asynccontextmanager
async def polled(process: Process) -> AsyncIterator[Readiness]:
    """Poll within the context."""
    seen = Readiness()

    async def poll() -> None:
        clock = asyncio.get_running_loop().time
        away_since: float | None = None
        async with aiohttp.ClientSession() as session:
            while True:
                began = clock()
                async with session.get(f"{process.url}/readyz") as response:
                    is_ready = response.status == 200
                    if not is_ready:
                        seen.absences[await response.text()] += 1
                seen.polls += 1
                seen.slowest_s = max(seen.slowest_s, clock() - began)
                away_since = None if is_ready else away_since or began
                if away_since is not None:
                    seen.longest_away_s = max(seen.longest_away_s, clock() - away_since)
                await asyncio.sleep(POLL_S)

    polling = asyncio.create_task(poll())
    try:
        yield seen
    finally:
        assert not polling.done(), "the poller met an error"
        polling.cancel()


async def works(nats_url: str, process: Process, installed: Installed) -> None:
    """Ready, and a normal create and list do what they should."""
    await ready(process)
    async with clients(nats_url) as (client,):
        scheduler = host(client, installed)
        created = await scheduler.create(CreateInput(endpoint="/api/heartbeat", cron="0 * * * *"))
        assert created.success, created
        assert created.schedule_id in {each.id for each in (await scheduler.list()).schedules}


def report(seen: Counter[tuple[str, str]], memory: str) -> None:
    """Print what was seen: the full run is made to be looked at."""
    lines = [f"{seen.total()} messages; {memory}"]
    lines += [f"{kind:16} {answer:18} {n:7}" for (kind, answer), n in sorted(seen.items())]
    sys.stdout.write("\n" + "\n".join(lines) + "\n")


@pytest.mark.timeout(300 + MESSAGES // 20)
async def test_every_hostile_message_gets_a_well_formed_reply_and_does_no_harm(
    tmp_path: Path, database: str, pool: asyncpg.Pool, nats_url: str
) -> None:
    installs = [await install(pool, tenant_id=f"tenant-{number}") for number in range(6)]
    bystander = await install(pool)
    async with (
        responders(1, tmp_path, database, nats_url, **SETTINGS) as (process,),
        a_wire_client(nats_url) as client,
        polled(process) as readiness,
    ):
        stream = HostileMessages(SEED, installs)
        memory = psutil.Process(process.popen.pid).memory_info
        seen = await send_hostile(client, stream, MESSAGES // 3)
        before = memory().rss
        seen += await send_hostile(client, stream, MESSAGES - MESSAGES // 3)
        grown = memory().rss - before
        await works(nats_url, process, bystander)
        assert process.popen.poll() is None
    assert seen.total() == MESSAGES
    assert seen["sound", "ok"] > 0
    assert seen["hostile fields", "VALIDATION_FAILED"] > 0
    report(
        seen,
        f"resident memory {before >> 20} MiB, then {grown / 2**20:+.1f} MiB; {readiness.polls} "
        f"polls, the slowest {readiness.slowest_s:.2f} s, away {readiness.longest_away_s:.2f} s",
    )
    assert readiness.polls > 0
    assert readiness.longest_away_s < AWAY_ALLOWED_S, readiness.absences
    assert grown < GROWTH_ALLOWED
    faults = [line for line in process.log.read_text().splitlines() if '"level":"error"' in line]
    assert faults == []
