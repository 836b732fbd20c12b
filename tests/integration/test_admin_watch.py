"""``admin watch``: events and runs as they happen, and what a lost connection may have cost."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import msgspec
import nats
import pytest
from msgspec import Struct

from contracts.events import Event, EventType
from contracts.subjects import event_subject
from contracts.times import wire_time
from devstack.embedded import Nats, embedded_nats
from tests.support.admin import Admin, register
from tests.support.command_line import CommandLine, command_line, error_line
from tests.support.host import dispatcher
from tests.support.relay import Relay, relayed
from tests.support.responders import responders
from tests.support.shipped_nats import CONFIG, ENVIRONMENT, PASSWORDS, may_subscribe

INSERT_RUN = """
INSERT INTO ext_scheduler.runs (id, tenant_id, install_id, schedule_id, slot, kind, trigger, status,
  attempts, queued_at, started_at, finished_at, missed, worker)
VALUES ($1, 'acme', $2, $3, $4, 'scheduled', 'schedule', $5, 1, $4, $4, $6, 0, 'worker-1')
"""


class Watched(Struct, frozen=True):
    """A command line with a relay between it and the bus, and a schedule of tenant acme."""

    line: CommandLine
    relay: Relay
    bus: Any
    pool: asyncpg.Pool
    install_id: str
    schedule_id: str

    async def publish(self, tenant: str, id_: str = "", run: UUID | None = None) -> str:
        event = Event(
            id=id_ or str(uuid4()),
            type=EventType.RUN_SUCCEEDED,
            tenant_id=tenant,
            install_id=self.install_id,
            schedule_id=self.schedule_id,
            run_id=str(run or uuid4()),
            at=wire_time(datetime.now(UTC)),
            data={"durationMs": 12},
        )
        subject = event_subject(tenant, self.install_id, event.type)
        await self.bus.publish(subject, msgspec.json.encode(event))
        await self.bus.flush()
        return event.id

    async def run(self, status: str) -> str:
        id_, now = uuid4(), datetime.now(UTC)
        finished = None if status == "running" else now
        slot = now.replace(second=0, microsecond=0) - timedelta(minutes=int(status == "running"))
        values = (UUID(self.install_id), UUID(self.schedule_id), slot, status, finished)
        await self.pool.execute(INSERT_RUN, id_, *values)
        return str(id_)


@pytest.fixture
async def watched(
    pool: asyncpg.Pool, tmp_path: Path, database: str, nats_url: str
) -> AsyncIterator[Watched]:
    admin = Admin(dispatcher(pool), tenant_id="acme")
    install_id = (await register(admin, "1.0.0", "/a"))["installId"]
    created = await admin(
        "createSchedule", installId=install_id, endpoint="/a", cron="0 3 * * *", name="nightly"
    )
    url = f"{nats_url.rstrip('/')}/"
    async with responders(1, tmp_path, database, nats_url), relayed(url) as (relay_url, relay):
        bus = await nats.connect(nats_url)
        line = command_line(tmp_path, relay_url.rstrip("/"))
        yield Watched(line, relay, bus, pool, install_id, created["scheduleId"])
        await bus.close()


async def line_of(stream: asyncio.StreamReader | None, text: str) -> str:
    """Read lines until one has the text."""
    assert stream is not None
    async with asyncio.timeout(60):
        while line := (await stream.readline()).decode():
            if text in line:
                return line
    raise AssertionError(f"ended without {text!r}")


async def stopped(process: asyncio.subprocess.Process) -> list[str]:
    process.send_signal(signal.SIGINT)
    _, errors = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 130
    return errors.decode().splitlines()


async def test_events_of_a_tenant_are_followed_until_ctrl_c(watched: Watched) -> None:
    process = await watched.line.start("admin", "watch", "--tenant", "acme")
    await line_of(process.stderr, "watching tenant acme")
    await watched.publish("other")
    repeated = await watched.publish("acme")
    await watched.publish("acme", repeated)
    await watched.publish("acme", run=UUID(int=7))
    first = await line_of(process.stdout, "run.")
    second = await line_of(process.stdout, "run.")
    for line in (first, second):
        assert line.split()[2:5] == ["run.succeeded", "acme", "nightly"]
        assert "durationMs 12" in line
    await watched.run("running")
    running = await line_of(process.stdout, "run.running")
    assert running.split()[3:5] == ["acme", "nightly"]
    assert await stopped(process) == ["ext-scheduler: interrupted"]


async def test_a_lost_connection_is_reported_and_its_runs_are_read(watched: Watched) -> None:
    process = await watched.line.start("admin", "watch", "--json")
    await line_of(process.stderr, "watching all tenants")
    watched.relay.flowing.clear()
    watched.relay.end()
    await line_of(process.stderr, "connection to NATS lost")
    missed = await watched.run("success")
    await watched.publish("acme", run=UUID(missed))
    watched.relay.flowing.set()
    gap = msgspec.json.decode(await line_of(process.stdout, "watch.gap"))
    assert gap["from"] < gap["until"]
    caught = msgspec.json.decode(await line_of(process.stdout, "watch.run"))
    assert (caught["type"], caught["run"]["id"]) == ("watch.run", missed)
    id_ = await watched.publish("acme")
    event = msgspec.json.decode(await line_of(process.stdout, "run.succeeded"))
    assert (event["id"], event["data"]) == (id_, {"durationMs": 12})
    assert (await stopped(process))[-1] == "ext-scheduler: interrupted"


@pytest.fixture(scope="module")
def shipped_nats(servers_directory: Path) -> Iterator[Nats]:
    with embedded_nats(
        servers_directory / "nats-watch", config=CONFIG, environment=ENVIRONMENT
    ) as server:
        yield server


async def test_only_users_that_may_read_events_can_watch(
    watched: Watched, shipped_nats: Nats
) -> None:
    for user in ("operator", "platform"):
        assert await may_subscribe(shipped_nats, user, "ext.scheduler.events.>")
    settings = {
        "nats_url": shipped_nats.url,
        "nats_user": "runner",
        "nats_password": PASSWORDS["runner"],
        "nats_inbox_prefix": "_INBOX_runner",
    }
    refused = await watched.line("admin", "watch", **settings)
    assert "may not subscribe" in error_line(refused, 4)
    tenants = await watched.line("admin", "watch", admin_key_file="platform.json")
    assert "missing --tenant" in error_line(tenants, 2)
