"""``serve --processes``: several processes behind one port, supervised as one."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import aiohttp
import asyncpg
import msgspec
import nats.errors
import pytest
from nats.aio.client import Client
from prometheus_client.parser import text_string_to_metric_families

from contracts.schedules import CreateInput
from service.runtime import child_process
from service.runtime.child_process import ChildProcess
from tests.support import schedule_rows
from tests.support.eventually import eventually
from tests.support.keys import write_key_set
from tests.support.platform import TICK, counts, install
from tests.support.responders import (
    PATIENT,
    START_WITHIN_S,
    Process,
    clients,
    host,
    ready,
    start,
)
from tests.support.runner_double import bus_runner

HOURLY = CreateInput(endpoint="/api/heartbeat", cron="0 * * * *")
LISTED = "extension_scheduler_api_calls_total", ("list", "ok")
UNLIMITED = {"changes_per_minute": "1000000"}


def settings_of(directory: Path, database: str, nats_url: str) -> Mapping[str, str]:
    keys = str(write_key_set(directory / "keys.json"))
    return {
        "database_url": database,
        "nats_url": nats_url,
        "key_set_file": keys,
        "runner_key_file": keys,
        "log_format": "json",
        **PATIENT,
    }


@asynccontextmanager
async def group(
    directory: Path, settings: Mapping[str, str], role: str = "all", count: int = 2
) -> AsyncIterator[Process]:
    """Provide a ready group; what is left of it is killed afterwards."""
    process = start(role, directory, settings, options=("--processes", str(count)))
    try:
        await ready(process)
        yield process
    finally:
        process.kill()
        await eventually(lambda: not any(map(is_alive, pids(process))), START_WITHIN_S)


def logged(process: Process, message: str) -> list[dict[str, object]]:
    lines = [line for line in process.log.read_text().splitlines() if line.startswith("{")]
    entries = [msgspec.json.decode(line, type=dict[str, object]) for line in lines]
    return [entry for entry in entries if entry["message"] == message]


def pids(process: Process) -> list[int]:
    return [int(str(entry["pid"])) for entry in logged(process, "process started")]


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def metrics(process: Process) -> dict[tuple[str, tuple[str, ...]], float]:
    """Return the values by name and values of labels."""
    async with aiohttp.ClientSession() as session, session.get(f"{process.url}/metrics") as answer:
        families = text_string_to_metric_families(await answer.text())
        return {(s.name, tuple(s.labels.values())): s.value for f in families for s in f.samples}


async def responder_ids(client: Client) -> set[str]:
    """Return the ids of the responders that answer a ping within some seconds, two at most."""
    found, inbox = set[str](), client.new_inbox()
    subscription = await client.subscribe(inbox)
    await client.publish("$SRV.PING.ext-scheduler", reply=inbox)
    try:
        while len(found) < 2:
            message = await subscription.next_msg(timeout=10)
            found.add(str(msgspec.json.decode(message.data)["id"]))
    except nats.errors.TimeoutError:
        return found
    finally:
        await subscription.unsubscribe()
    return found


async def others(client: Client, before: set[str]) -> set[str]:
    """Return the ids of two responders, one of which is new; none while there are no such."""
    found = await responder_ids(client)
    return found if len(found) == 2 and found != before else set()


async def has_listed(process: Process, times: int) -> bool:
    return (await metrics(process)).get(LISTED) == times


async def test_processes_answer_as_one_and_a_killed_one_is_replaced(
    tmp_path: Path, database: str, pool: asyncpg.Pool, nats_url: str
) -> None:
    settings = settings_of(tmp_path, database, nats_url)
    async with group(tmp_path, settings) as process, clients(nats_url) as (client,):
        before = await responder_ids(client)
        scheduler = host(client, await install(pool))
        await asyncio.gather(*(scheduler.list() for _ in range(60)))
        await eventually(lambda: has_listed(process, 60))
        found = await metrics(process)
        assert found["extension_scheduler_processes", ()] == 2
        assert found["extension_scheduler_process_restarts_total", ()] == 0
        connections = found["extension_scheduler_pool_connections", ("responder", "limit")]
        assert connections == 2 * 16

        os.kill(pids(process)[0], signal.SIGKILL)
        await eventually(lambda: len(pids(process)) == 3, START_WITHIN_S)
        await ready(process)
        (ended,) = logged(process, "process ended, starting another")
        assert (ended["process"], ended["status"]) == ("process 1", -signal.SIGKILL)
        after = await eventually(lambda: others(client, before))
        assert len(before & after) == 1
        await asyncio.gather(*(scheduler.list() for _ in range(10)))
        # What the killed process had counted stays counted.
        await eventually(lambda: has_listed(process, 70))
        found = await metrics(process)
        assert found["extension_scheduler_processes", ()] == 2
        assert found["extension_scheduler_process_restarts_total", ()] == 1
        assert await process.stop() == 0
        assert not any(map(is_alive, pids(process)))


async def test_a_stop_under_load_loses_no_change(
    tmp_path: Path, database: str, pool: asyncpg.Pool, nats_url: str
) -> None:
    settings = {**settings_of(tmp_path, database, nats_url), **UNLIMITED}
    installs = [await install(pool, tenant_id=f"tenant-{n}") for n in range(10)]
    answered, halfway = set[str](), asyncio.Event()
    async with clients(nats_url, 2) as callers:

        async def create(caller: int) -> None:
            scheduler = host(callers[caller % 2], installs[caller], patience=START_WITHIN_S)
            for _ in range(30):
                answer = await scheduler.create(HOURLY, jti=uuid4())
                answered.add(str(answer.schedule_id))
                if len(answered) >= 100:
                    halfway.set()

        async with group(tmp_path, settings, "responder") as first:
            creating = asyncio.gather(*map(create, range(10)))
            await halfway.wait()
            assert await first.stop() == 0
        async with group(tmp_path, settings, "responder"):
            await creating
    rows = await pool.fetch("SELECT id FROM tenant_extension_schedule")
    assert {str(row["id"]) for row in rows} == answered
    assert len(answered) == 300
    tables = ("ext_scheduler.timers", "ext_scheduler.idempotency", "ext_scheduler.audit")
    assert await counts(pool, *tables) == dict.fromkeys(tables, 300)


async def test_a_stop_waits_for_calls_and_each_slot_is_called_once(
    tmp_path: Path, database: str, pool: asyncpg.Pool, nats_url: str
) -> None:
    # A slot that is late already is caught up with at once: no call is to give up before the end.
    settings = {**settings_of(tmp_path, database, nats_url), "catchup_spread_s": "1"}
    async with bus_runner(nats_url) as runner, group(tmp_path, settings, "worker") as process:
        release = runner.hold()
        made = await install(pool, materialised=TICK)
        due_at = datetime.now(UTC).replace(second=0, microsecond=0)
        # At once, or the worker plans some by the expression that they are not due by.
        async with pool.acquire() as connection, connection.transaction():
            for _ in range(40):
                await schedule_rows.schedule(connection, made, cron="0 0 1 1 *", due_at=due_at)
            # Due by their expression too, whatever the minute is.
            minute = f"{due_at.minute} {due_at.hour} {due_at.day} {due_at.month} *"
            await connection.execute("UPDATE tenant_extension_schedule SET cron = $1", minute)
            await connection.execute("UPDATE ext_scheduler.timers SET cron = $1", minute)
        await eventually(lambda: runner.in_flight == 40, START_WITHIN_S)
        process.popen.send_signal(signal.SIGTERM)
        await eventually(lambda: bool(logged(process, "stopping")), START_WITHIN_S)
        release.set()
        assert await asyncio.to_thread(process.popen.wait, 60) == 0
        assert len({call.key for call in runner.calls}) == len(runner.calls) == 40
    rows = await pool.fetch("SELECT status, count(*) FROM ext_scheduler.runs GROUP BY status")
    assert [tuple(row) for row in rows] == [("success", 40)]


async def test_a_process_that_cannot_start_any_more_ends_the_group(
    tmp_path: Path, database: str, nats_url: str
) -> None:
    settings = settings_of(tmp_path, database, nats_url)
    async with group(tmp_path, settings, "responder") as process:
        (tmp_path / "keys.json").unlink()
        os.kill(pids(process)[0], signal.SIGKILL)
        status = await asyncio.to_thread(process.popen.wait, START_WITHIN_S)
        text = process.log.read_text()
        assert status == 1
        assert "process 1 ended 5 times in a row within 60 s of its start" in text
        assert "keys.json" in text
        assert len(logged(process, "process ended, starting another")) == 4
        assert not any(map(is_alive, pids(process)))


async def test_a_group_that_cannot_start_ends_with_the_status_of_its_process(
    tmp_path: Path, database: str, nats_url: str
) -> None:
    settings = {**settings_of(tmp_path, database, nats_url), "database_url": f"{database}_gone"}
    process = start("responder", tmp_path, settings, options=("--processes", "2"))
    try:
        alone = start("responder", tmp_path, settings)
        expected = await asyncio.to_thread(alone.popen.wait, START_WITHIN_S)
        assert await asyncio.to_thread(process.popen.wait, START_WITHIN_S) == expected != 0
        assert "ended at its start with status" in process.log.read_text()
    finally:
        process.kill()


async def test_systemd_hears_of_the_group_as_of_one_process(
    tmp_path: Path, database: str, nats_url: str
) -> None:
    settings = settings_of(tmp_path, database, nats_url)
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(address)
        listening.setblocking(False)
        loop = asyncio.get_running_loop()
        process = start(
            "responder",
            tmp_path,
            settings,
            variables={"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "200000"},
            options=("--processes", "2"),
        )
        try:
            async with asyncio.timeout(START_WITHIN_S):
                heard = [(await loop.sock_recv(listening, 100)).decode() for _ in range(3)]
                assert heard == ["READY=1", "WATCHDOG=1", "WATCHDOG=1"]
                await ready(process)
                process.popen.send_signal(signal.SIGTERM)
                while heard[-1] == "WATCHDOG=1":
                    heard.append((await loop.sock_recv(listening, 100)).decode())
            assert heard[-1] == "STOPPING=1"
            assert await asyncio.to_thread(process.popen.wait, 60) == 0
        finally:
            process.kill()


async def test_processes_do_not_outlive_their_parent(
    tmp_path: Path, database: str, nats_url: str
) -> None:
    settings = settings_of(tmp_path, database, nats_url)
    async with group(tmp_path, settings, "responder") as process:
        assert sum(map(is_alive, pids(process))) == 2
        process.kill()
        await eventually(lambda: not any(map(is_alive, pids(process))), START_WITHIN_S)


async def test_a_process_that_stands_still_is_killed(
    tmp_path: Path, database: str, nats_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child_process, "WATCHDOG_S", 10.0)
    for name, text in settings_of(tmp_path, database, nats_url).items():
        monkeypatch.setenv(f"EXT_SCHEDULER_{name.upper()}", text)
    reading, writing = os.pipe()
    child = ChildProcess(1, ("serve", "--role", "responder"), tmp_path, reading)
    running = asyncio.create_task(child.run())
    try:
        async with asyncio.timeout(START_WITHIN_S):
            await child.ready.wait()
        assert await child.checks() == dict.fromkeys(await child.checks() or {}, "ok")
        child.watch()
        assert not running.done()
        child.signal(signal.SIGSTOP)

        def ended() -> bool:
            child.watch()
            return running.done()

        await eventually(ended, START_WITHIN_S)
        assert running.result() == -signal.SIGKILL
        assert await child.checks() is None
    finally:
        os.close(writing)
        child.signal(signal.SIGKILL)
        await running
        os.close(reading)
