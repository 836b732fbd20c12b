"""A cut-over under load and back, as docs/cut-over.md has it, with the real service."""

import asyncio
import shlex
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
from msgspec import Struct

from contracts.schedules import CreateInput, DeleteInput
from devstack.embedded import embedded_nats, embedded_postgres, private_directory
from runner_bridge.client import SchedulerHost
from service.storage.engine.migrate import migrate
from tests.rehearsal import platform_database as database
from tests.rehearsal.judgement import MINUTE_S, Counts, Firing, Pause, judge, slots_between
from tests.support.command_line import CommandLine, command_line
from tests.support.eventually import eventually
from tests.support.platform import Installed
from tests.support.responders import clients, host, ready, start
from tests.support.runner_double import RunnerDouble, bus_runner

SETTLE_S = 15.0
"""After a minute has begun: what fires in it has been called by then."""
BOSSES = {"boss10": "pgboss10", "boss12": "pgboss12", "bare": "pgboss12"}
TEMPORAL = Path(__file__).with_name("temporal.py")
SETTINGS = {
    "min_interval_minutes": "1",
    "changes_per_minute": "1000000",
    "max_schedules": "1000",
    "log_level": "warning",
}
Say = Callable[[str], None]


class Options(Struct, frozen=True):
    """How many schedules each tenant has, and for how many slots each stage lasts."""

    each: int = 25
    slots: int = 2


class Result(Struct, frozen=True):
    """The counts by tenant, the pauses, and how many changes were made meanwhile."""

    tenants: dict[str, Counts]
    pauses: list[Pause]
    changes: int


async def run(options: Options, say: Say) -> Result:
    """Rehearse; raise AssertionError where a step of the cut-over itself does not succeed."""
    with private_directory() as home, embedded_postgres(home / "postgres") as postgres:
        async with asyncpg.create_pool(postgres.dsn, min_size=1, max_size=5) as pool:
            rows, load = await database.build(pool, options.each)
            say(f"{len(rows)} schedules of {len(database.RUNNERS)} tenants, as the platform's")
            async with pool.acquire() as connection:
                await migrate(connection)
            with embedded_nats(home / "nats") as nats:
                line = command_line(home, nats.url)
                async with serving(home, postgres.dsn, nats.url) as runner:
                    runners = database.JobRunners(pool)
                    installed = Installed("load", load, uuid4(), uuid4())
                    async with changing(nats.url, installed) as changes:
                        stages = Stages(options, say, pool, line, runners, postgres.dsn)
                        began, pauses = await stages.run()
                    firings = [*runners.firings, *service_firings(runner)]
                    counted = {
                        tenant: count(
                            rows, tenant, firings, slots_between(began, time.time()), pauses
                        )
                        for tenant in database.RUNNERS
                    }
                    return Result(counted, pauses, changes[0])


@asynccontextmanager
async def serving(home: Path, dsn: str, nats_url: str) -> AsyncIterator[RunnerDouble]:
    """Run a responder and two workers, and a Runner that answers 200 to each call."""
    files = {"key_set_file": str(home / "keys.json"), "runner_key_file": str(home / "worker.json")}
    settings = {**SETTINGS, **files, "database_url": dsn, "nats_url": nats_url}
    program = [sys.executable, "-m", "service"]
    async with bus_runner(nats_url) as runner:
        processes = [
            start(role, home, settings, program) for role in ("responder", "worker", "worker")
        ]
        try:
            await asyncio.gather(*map(ready, processes))
            yield runner
            statuses = await asyncio.gather(*(process.stop() for process in processes))
            assert statuses == [0, 0, 0], statuses
        finally:
            for process in processes:
                process.kill()


@asynccontextmanager
async def changing(nats_url: str, installed: Installed) -> AsyncIterator[list[int]]:
    """Create and delete schedules of another tenant all the while; yields how many changes."""
    changes = [0]

    async def work(scheduler: SchedulerHost, name: str) -> None:
        while True:
            request = CreateInput(endpoint="/tick", cron="0 3 * * *", name=name)
            made = await scheduler.create(request)
            assert made.schedule_id, made
            await scheduler.list()
            removed = await scheduler.delete(DeleteInput(schedule_id=made.schedule_id))
            assert removed.success, removed
            changes[0] += 2

    async with clients(nats_url) as (client,):
        scheduler = host(client, installed)
        tasks = [asyncio.create_task(work(scheduler, f"load {n}")) for n in range(3)]
        try:
            yield changes
        finally:
            for task in tasks:
                task.cancel()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    failed = [each for each in outcomes if not isinstance(each, asyncio.CancelledError)]
    assert not failed, f"changes failed: {failed!r}"


class Stages(Struct, frozen=True):
    """The steps of a cut-over, on what runs."""

    options: Options
    say: Say
    pool: asyncpg.Pool
    line: CommandLine
    runners: database.JobRunners
    dsn: str

    async def run(self) -> tuple[float, list[Pause]]:
        """Go there and back; return when the first slot was, and the announced pauses."""
        self.runners.start()
        began = time.time()
        await self._let_fire("the platform's job runners")
        there = await self._cut_over()
        await self._let_fire("this service")
        back = await self._go_back()
        await self._let_fire("the platform's job runners, again")
        await self.runners.stop()
        return began, [there, back]

    async def _let_fire(self, who: str) -> None:
        self.say(f"{self.options.slots} slots fired by {who}")
        until = (time.time() // MINUTE_S + self.options.slots) * MINUTE_S + SETTLE_S
        await asyncio.sleep(until - time.time())

    async def _cut_over(self) -> Pause:
        began = time.time()
        for tenant in database.RUNNERS:
            await self._admin("pause", tenant, "--reason", "cut-over")
        await self.runners.stop()
        for tenant in database.RUNNERS:
            words = ("adopt", "--tenant", tenant, *self._from(tenant))
            looked = await self._admin(*words, "--dry-run")
            adopted = await self._admin(*words)
            assert not adopted.get("problems"), adopted
            assert looked["adopted"] == adopted["adopted"], (looked, adopted)
            self.say(f"  adopted {adopted['adopted']} of {tenant}")
            await self._verify(tenant, "scheduler")
        assert await database.jobs_left(self.pool) == 0
        for tenant in database.RUNNERS:
            await self._admin("resume", tenant)
        return Pause(began, time.time())

    async def _go_back(self) -> Pause:
        began = time.time()
        for tenant in database.RUNNERS:
            await self._admin("pause", tenant, "--reason", "back")
            await eventually(self._nothing_runs)
            released = await self._admin("release", "--tenant", tenant)
            self.say(f"  released {released['released']} of {tenant}")
        await database.give_jobs(self.pool, list(database.RUNNERS))
        self.runners.start()
        ended = time.time()
        for tenant in database.RUNNERS:
            await self._verify(tenant, "other")
            await self._admin("resume", tenant)
        return Pause(began, ended)

    async def _nothing_runs(self) -> bool:
        running = "SELECT count(*) FROM ext_scheduler.runs WHERE status IN ('queued', 'running')"
        return bool(await self.pool.fetchval(running) == 0)

    def _from(self, tenant: str) -> list[str]:
        """Return the options of ``adopt`` for the tenant's job runner."""
        if tenant in BOSSES:
            return ["--pg-boss-schema", BOSSES[tenant]]
        command = shlex.join([sys.executable, str(TEMPORAL), self.dsn, "schedule", "delete"])
        return ["--temporal-command", f"{command} --schedule-id {{id}}"]

    async def _verify(self, tenant: str, driver: str) -> None:
        listed = (await self._admin("list", "--tenant", tenant, "--all", "--enabled"))["schedules"]
        assert len(listed) == self.options.each, len(listed)
        assert {each["drivenBy"] for each in listed} == {driver}, tenant
        found = await self._admin("reconcile", "--tenant", tenant, "--dry-run")
        assert not found.get("inconsistencies"), found

    async def _admin(self, *words: str) -> Any:
        return await self.line.json("admin", *words)


def service_firings(runner: RunnerDouble) -> list[Firing]:
    """Return the calls that the service made."""
    contexts = [call.request["context"] for call in runner.calls]
    return [
        Firing(
            UUID(each["schedule_id"]),
            datetime.fromisoformat(each["scheduled_for"]).timestamp(),
            "service",
        )
        for each in contexts
    ]


def count(
    rows: list[database.Row],
    tenant: str,
    firings: list[Firing],
    slots: list[float],
    pauses: list[Pause],
) -> Counts:
    """Judge the schedules of one tenant; those without a handle fire from the cut-over on."""
    own = [row for row in rows if row.tenant == tenant]
    if tenant == "bare":
        slots = [slot for slot in slots if slot > pauses[0].ended]
    return judge(
        [row.id for row in own if row.enabled],
        [row.id for row in own if not row.enabled],
        firings,
        slots,
        pauses,
    )
