"""A responder and a worker as processes on the shipped ``nats.conf``, and some of everything.

What must never be in a log is collected on the way: payload texts, tokens, keys, passwords.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import asyncpg
import msgspec
from msgspec import Struct, field
from nats.aio.client import Client
from prometheus_client.parser import text_string_to_metric_families

from contracts.context import Claims, Key, body_sha256, sign
from contracts.subjects import (
    CONTENT_TYPE_HEADER,
    CONTEXT_HEADER,
    HOST_AUDIENCE,
    TRACE_HEADER,
    host_subject,
)
from devstack.embedded import Nats
from tests.support import schedule_rows
from tests.support.eventually import eventually
from tests.support.keys import JWKS, PLATFORM_KEY, RUNNER_KEY, write_key_set
from tests.support.platform import TICK, Installed, install
from tests.support.responders import PATIENT, Process, ready, start
from tests.support.runner_double import ReceivedCall, RunnerDouble, subscribed_runner
from tests.support.shipped_nats import PASSWORDS, connected

PAYLOAD = "payload-that-nobody-may-read"
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]
"""Value by metric name and sorted labels."""


class Session(Struct):
    """What runs. ``secrets`` grows with every token that is sent."""

    responder: Process
    worker: Process
    client: Client
    runner: RunnerDouble
    pool: asyncpg.Pool
    installed: Installed
    secrets: list[str] = field(default_factory=list)

    async def ask(self, op: str, body: dict[str, Any], key: Key = RUNNER_KEY) -> dict[str, Any]:
        """Ask for a host operation in JSON; without a tenant in the token, as the sidecar does."""
        encoded, now = msgspec.json.encode(body), int(time.time())
        token = sign(
            Claims(
                iss=key.issuer,
                aud=HOST_AUDIENCE,
                iat=now,
                exp=now + 60,
                jti=uuid4(),
                op=op,
                body_sha256=body_sha256(encoded),
                install_id=self.installed.install_id,
            ),
            key,
        )
        self.secrets += [token, token.rpartition(".")[2]]
        headers = {
            CONTEXT_HEADER: token,
            CONTENT_TYPE_HEADER: "application/json",
            TRACE_HEADER: TRACEPARENT,
        }
        reply = await self.client.request(host_subject(op), encoded, timeout=60, headers=headers)
        answer: dict[str, Any] = msgspec.json.decode(reply.data)
        return answer


def processes(server: Nats, database: str, directory: Path) -> tuple[Process, Process]:
    """Start a responder and a worker that log everything, as JSON."""
    settings = {
        "database_url": database,
        "nats_url": server.url,
        "nats_user": "service",
        "nats_password": PASSWORDS["service"],
        "nats_inbox_prefix": "_INBOX_service",
        "key_set_file": str(write_key_set(directory / "keys.json")),
        "runner_key_file": str(directory / "keys.json"),
        "log_level": "debug",
        "retry_delays_s": "1",
        "catchup_spread_s": "1",
        "runner_timeout_s": "100",  # one call is still made at the end
        **PATIENT,
    }
    return start("responder", directory, settings), start("worker", directory, settings)


@asynccontextmanager
async def busy_session(
    server: Nats, database: str, pool: asyncpg.Pool, directory: Path
) -> AsyncIterator[Session]:
    """Make everything happen, and yield while the processes still run."""
    responder, worker = processes(server, database, directory)
    try:
        await asyncio.gather(ready(responder), ready(worker))
        async with connected(server, "runner") as (client, _), subscribed_runner(client) as runner:
            async with pool.acquire() as connection:
                installed = await install(connection, materialised=TICK)
            session = Session(responder, worker, client, runner, pool, installed)
            session.secrets += [PAYLOAD, PASSWORDS["service"], *(str(jwk["d"]) for jwk in JWKS)]
            await ask_for_some_of_everything(session)
            await fire_some_of_everything(session)
            yield session
    finally:
        responder.kill()
        worker.kill()


async def ask_for_some_of_everything(session: Session) -> None:
    """Send requests that are accepted, refused or fail, and one that cannot be answered."""
    hourly = {"endpoint": "/api/tick", "cron": "0 * * * *", "payload": {"say": PAYLOAD}}
    created = await session.ask("create", hourly)
    id_ = {"scheduleId": created["scheduleId"]}
    await session.ask("update", {**id_, "payload": {"say": [PAYLOAD]}})
    for op, body in {"list": {}, "get": id_, "getEndpoints": {}, "delete": id_}.items():
        await session.ask(op, body)
    refused = await session.ask("create", {**hourly, "cron": PAYLOAD})
    assert refused["code"] == "VALIDATION_FAILED"
    assert (await session.ask("list", {}, PLATFORM_KEY))["code"] == "UNAUTHORIZED"
    await session.client.publish(host_subject("list"), PAYLOAD.encode())


async def fire_some_of_everything(session: Session) -> None:
    """Fire a success, a failure that is retried, missed slots, and a call still in flight."""

    async def answer(call: ReceivedCall) -> bytes | None:
        session.secrets.append(call.headers[CONTEXT_HEADER])
        say = call.payload["say"]
        if say == f"{PAYLOAD} wait":
            await asyncio.Event().wait()
        failing = {"status": 500, "error": f"cannot do {call.payload}"}
        return msgspec.json.encode(failing if say == f"{PAYLOAD} fail" else {"status": 200})

    session.runner.script = answer
    minute = datetime.now(UTC).replace(second=0, microsecond=0)
    first, second = minute - timedelta(minutes=50), minute - timedelta(minutes=30)
    async with session.pool.acquire() as connection:
        for word in ("well", "fail", "wait", "late"):
            late = word == "late"
            await schedule_rows.schedule(
                connection,
                session.installed,
                # Nothing else comes due meanwhile.
                cron=f"{first.minute},{second.minute} * * * *" if late else "0 0 1 1 *",
                payload={"say": f"{PAYLOAD} {word}"},
                due_at=first if late else minute,
            )

    async def all_but_one_ended() -> bool:
        statuses = [
            row["status"]
            for row in await session.pool.fetch("SELECT status FROM ext_scheduler.runs")
        ]
        return sorted(statuses) == ["error", "running", "success", "success"]

    await eventually(all_but_one_ended)


async def scrape(process: Process) -> Samples:
    """Return everything that a process counts, as Prometheus reads it."""
    async with aiohttp.ClientSession() as client, client.get(f"{process.url}/metrics") as answer:
        text = await answer.text()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
