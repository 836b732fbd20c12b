"""Two responders as processes, callers in another: what must hold across all of them."""

import asyncio
from collections import Counter
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from contracts.encoding import Encoding
from contracts.errors import Code, ServiceError
from contracts.schedules import CreateInput, DeleteInput, GetInput, UpdateInput
from runner_bridge.client import SchedulerHost
from tests.support.eventually import eventually
from tests.support.platform import counts, install
from tests.support.responders import PATIENT, clients, host, ready, responders, start
from tests.support.trouble import created, listed, once

UNLIMITED = {"changes_per_minute": "1000000"}
HOURLY = CreateInput(endpoint="/api/heartbeat", cron="0 * * * *")
CHANGE_TABLES = (
    "tenant_extension_schedule",
    "ext_scheduler.timers",
    "ext_scheduler.idempotency",
    "ext_scheduler.audit",
)


async def outcome(host: SchedulerHost, request: CreateInput = HOURLY) -> str:
    """Return what became of a create, in a word."""
    try:
        answer = await host.create(request)
    except ServiceError as error:
        return error.code.value
    return "created" if answer.success else str(answer.code)


@pytest.mark.parametrize("encoding", Encoding)
async def test_the_six_host_operations_work_end_to_end(
    tmp_path: Path, database: str, pool: asyncpg.Pool, nats_url: str, encoding: Encoding
) -> None:
    async with responders(2, tmp_path, database, nats_url), clients(nats_url) as (client,):
        scheduler = host(client, await install(pool), encoding)
        endpoints = (await scheduler.get_endpoints()).endpoints
        assert {each.path for each in endpoints if each.schedulable} >= {"/api/heartbeat"}
        created = await scheduler.create(
            CreateInput(endpoint="/api/heartbeat", cron="0 * * * *", payload={"ä": [1, 2.5]})
        )
        assert created.schedule_id is not None
        updated = await scheduler.update(
            UpdateInput(schedule_id=created.schedule_id, name="hourly", expected_revision=1)
        )
        assert updated.success
        shown = (await scheduler.get(GetInput(created.schedule_id))).schedule
        assert shown is not None
        assert (shown.name, shown.payload, shown.revision) == ("hourly", {"ä": [1, 2.5]}, 2)
        assert (await scheduler.list()).schedules == [shown]
        assert (await scheduler.delete(DeleteInput(created.schedule_id))).success
        assert (await scheduler.get(GetInput(created.schedule_id))).schedule is None


async def test_two_hundred_creates_at_once_leave_exactly_fifty(
    tmp_path: Path, database: str, pool: asyncpg.Pool, nats_url: str
) -> None:
    async with (
        responders(2, tmp_path, database, nats_url, **UNLIMITED),
        clients(nats_url, 4) as callers,
    ):
        installed = await install(pool)
        hosts = [host(client, installed) for client in callers]
        outcomes = Counter(
            await asyncio.gather(*(outcome(hosts[number % 4]) for number in range(200)))
        )
    assert outcomes == {"created": 50, "QUOTA_EXCEEDED": 150}
    assert await counts(pool, *CHANGE_TABLES) == dict.fromkeys(CHANGE_TABLES, 50)


async def test_thirty_creates_at_once_pass_exactly_ten(
    tmp_path: Path, database: str, pool: asyncpg.Pool, nats_url: str
) -> None:
    async with responders(2, tmp_path, database, nats_url), clients(nats_url, 2) as callers:
        installed = await install(pool)
        hosts = [host(client, installed) for client in callers]
        outcomes = Counter(
            await asyncio.gather(*(outcome(hosts[number % 2]) for number in range(30)))
        )
    assert outcomes == {"created": 10, "RATE_LIMITED": 20}


async def test_one_jti_twenty_times_at_once_is_one_change(
    tmp_path: Path, database: str, pool: asyncpg.Pool, nats_url: str
) -> None:
    async with responders(2, tmp_path, database, nats_url), clients(nats_url, 2) as callers:
        installed = await install(pool)
        jti = uuid4()
        answers = await asyncio.gather(
            *(host(callers[number % 2], installed).create(HOURLY, jti=jti) for number in range(20))
        )
    assert len({answer.schedule_id for answer in answers}) == 1
    assert await counts(pool, *CHANGE_TABLES) == dict.fromkeys(CHANGE_TABLES, 1)


async def test_a_killed_responder_costs_no_change_and_doubles_none(
    tmp_path: Path, database: str, pool: asyncpg.Pool, nats_url: str
) -> None:
    async with (
        responders(2, tmp_path, database, nats_url, **UNLIMITED) as processes,
        clients(nats_url, 4) as callers,
    ):
        installs = [await install(pool, tenant_id=f"tenant-{n}") for n in range(20)]
        jtis = {uuid4(): number for number in range(1000)}
        answered: dict[str, int] = {}
        halfway = asyncio.Event()

        async def create(caller: int) -> None:
            for jti, number in jtis.items():
                if number % 20 == caller:
                    scheduler = host(callers[number % 4], installs[caller])
                    answer = await scheduler.create(HOURLY, jti=jti)
                    answered[str(answer.schedule_id)] = number
                    if len(answered) >= 300:
                        halfway.set()

        async def kill_one_halfway() -> None:
            await halfway.wait()
            processes[0].kill()

        await asyncio.gather(kill_one_halfway(), *map(create, range(20)))
    assert len(answered) == 1000
    stored = {
        str(row["id"]) for row in await pool.fetch("SELECT id FROM tenant_extension_schedule")
    }
    assert stored == set(answered)
    assert await counts(pool, *CHANGE_TABLES) == dict.fromkeys(CHANGE_TABLES, 1000)


async def test_a_rolling_restart_loses_no_call(
    tmp_path: Path, database: str, pool: asyncpg.Pool, nats_url: str
) -> None:
    """Every call is made a single time: a client that asks again would hide one that was lost."""
    async with (
        responders(2, tmp_path, database, nats_url, **PATIENT, **UNLIMITED) as processes,
        clients(nats_url, 4) as callers,
    ):
        # However fast the machine, no install reaches its quota of 50 schedules.
        installed = [await install(pool) for _ in range(300)]
        restarted = asyncio.Event()
        calls, answers = Counter[str](), Counter[str]()

        async def keep_calling(caller: int) -> None:
            call = (created, listed)[caller % 2]
            while not restarted.is_set():
                installed_now = installed[calls[call.__name__] % len(installed)]
                scheduler = once(callers[caller % 4], installed_now)
                calls[call.__name__] += 1
                answers[await call(scheduler)] += 1

        async def answered_by_the_new() -> None:
            before = answers["created"], answers["listed"]
            await eventually(
                lambda: answers["created"] > before[0] and answers["listed"] > before[1]
            )

        async def restart_each() -> None:
            for number, process in enumerate(list(processes)):
                settings = {
                    "database_url": database,
                    "nats_url": nats_url,
                    "key_set_file": str(tmp_path / "keys.json"),
                    "log_level": "warning",
                    **PATIENT,
                    **UNLIMITED,
                }
                fresh = start("responder", tmp_path, settings)
                processes.append(fresh)
                await ready(fresh)
                assert await process.stop() == 0, f"responder {number}"
                await answered_by_the_new()
            restarted.set()

        await asyncio.gather(restart_each(), *(keep_calling(caller) for caller in range(60)))
    assert answers == calls
    assert await counts(pool, "tenant_extension_schedule") == {
        "tenant_extension_schedule": calls["created"]
    }


async def test_a_stopping_responder_ends_with_status_zero(
    tmp_path: Path, database: str, nats_url: str
) -> None:
    async with responders(1, tmp_path, database, nats_url) as (process,):
        assert await process.stop() == 0


async def test_a_caller_without_responders_gets_an_error_at_once(
    pool: asyncpg.Pool, nats_url: str
) -> None:
    async with clients(nats_url) as (client,):
        scheduler = host(client, await install(pool), patience=0.2)
        with pytest.raises(ServiceError) as caught:
            await scheduler.list()
    assert caught.value.code is Code.UNAVAILABLE
