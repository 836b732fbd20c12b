"""Two cells on one machine: a tenant moves under load, and back, with unmodified Runners."""

import asyncio
import os
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
import pytest
from msgspec import Struct
from nats.aio.client import Client

from contracts.context import key_set_document
from contracts.schedules import CreateInput, UpdateInput
from devstack.embedded import Postgres
from devstack.embedded.nats import nats_server
from devstack.embedded.servers import free_port
from runner_bridge.client import SchedulerHost
from service.cli.cells_file import read_cells
from service.storage import tenant_move
from service.storage.engine.migrate import migrate
from tests.support.bus_service import a_client
from tests.support.eventually import eventually
from tests.support.keys import OPERATOR_JWK, write_key_set
from tests.support.platform import TICK, Installed, install
from tests.support.pools import pool_of
from tests.support.responders import PATIENT, START_WITHIN_S, Process, host, ready, start
from tests.support.runner_double import RunnerDouble, subscribed_runner
from tests.support.shipped_nats import CONFIG

CELLS = ("one", "two")
OTHERS = [f"00000000-0000-4000-8000-{number:012}" for number in range(9)]
BEFORE_PAUSE = timedelta(seconds=30)
"""A slot that fell so shortly before the pause may not have been planned by then."""
TENANT = "acme"
TENANT_TABLES = """
SELECT format('%s.%s', c.table_schema, c.table_name) FROM information_schema.columns c
JOIN information_schema.tables t USING (table_schema, table_name)
WHERE c.column_name = 'tenant_id' AND t.table_type = 'BASE TABLE'
  AND c.table_schema IN ('public', 'ext_scheduler') AND c.table_name NOT LIKE 'runs\\_%'
"""


class Stage(Struct, frozen=True):
    """The cells that run, and the tenant's Runner with the connection that it is on."""

    file: Path
    pools: dict[str, asyncpg.Pool]
    processes: dict[str, Process]
    client: Client
    runner: RunnerDouble
    made: Installed

    async def move(self, cell: str) -> str:
        """Move the tenant as an operator would; return what is printed."""
        done = await asyncio.to_thread(command, self.file, "move", TENANT, cell)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def calls(self) -> Counter[tuple[str, str]]:
        """Return how often each slot of each schedule was called."""
        contexts = [call.request["context"] for call in self.runner.calls]
        return Counter((each["schedule_id"], each["scheduled_for"]) for each in contexts)

    async def called_since(self, count: int) -> None:
        """Wait until further slots have been called."""
        await eventually(lambda: len(self.runner.calls) > count, 150)


def command(file: Path, *words: str) -> subprocess.CompletedProcess[str]:
    arguments = [sys.executable, "-m", "service", "cells", *words, "--file", str(file)]
    environment = {name: text for name, text in os.environ.items() if "EXT_SCHEDULER" not in name}
    return subprocess.run(
        arguments, capture_output=True, text=True, env=environment, timeout=300, check=False
    )


def settings_of(directory: Path, cell: str, database: str, nats_url: str) -> Mapping[str, str]:
    keys = str(write_key_set(directory / "keys.json"))
    return {
        "database_url": database,
        "nats_url": nats_url,
        "nats_user": f"service_{cell}",
        "nats_password": f"service-{cell}",
        "nats_inbox_prefix": "_INBOX_service",
        "key_set_file": keys,
        "runner_key_file": keys,
        "min_interval_minutes": "1",
        "changes_per_minute": "100000",
        "max_schedules": "1000",
        **PATIENT,
    }


def write_files(
    directory: Path, databases: Mapping[str, str], nats_url: str, reload: str, monitoring: int
) -> Path:
    """Write ``cells.toml``, and the settings with which each cell is administrated."""
    key = directory / "admin.json"
    key.write_bytes(key_set_document([OPERATOR_JWK]))
    key.chmod(0o600)
    sections = []
    for cell, database in databases.items():
        values = {
            "database_url": database,
            "nats_url": nats_url,
            "nats_user": f"operator_{cell}",
            "nats_password": f"operator-{cell}",
            "nats_inbox_prefix": "_INBOX_operator",
            "admin_key_file": str(key),
        }
        lines = "".join(f'{name} = "{text}"\n' for name, text in values.items())
        (directory / f"{cell}.toml").write_text(lines)
        sections.append(f'[cells.{cell}]\nsettings = "{cell}.toml"\n')
    file = directory / "cells.toml"
    file.write_text(
        f'nats_base = "{CONFIG}"\nnats_conf = "nats-cells.conf"\n'
        f'reload = {reload}\nmonitoring = ["http://127.0.0.1:{monitoring}"]\n\n'
        + "".join(sections)
        + "\n# Who lives where.\n"
        f'[tenants.{TENANT}]\nrunners = "acme"\ncell = "one" # since the beginning\n'
    )
    return file


def variables() -> dict[str, str]:
    """Return the passwords of all users of the derived configuration."""
    users = [
        (user, cell) for user in ("service", "operator", "platform", "console") for cell in CELLS
    ]
    users.append(("runner", "acme"))
    found = {
        f"EXT_SCHEDULER_NATS_{user.upper()}_{name.upper()}_PASSWORD": f"{user}-{name}"
        for user, name in users
    }
    return {**found, "EXT_SCHEDULER_NATS_SYS_PASSWORD": "sys-password"}


@pytest.fixture
async def databases(postgres: Postgres) -> AsyncIterator[Mapping[str, str]]:
    """Yield a database for each cell."""
    names = {cell: f"cell_{cell}_{uuid4().hex[:8]}" for cell in CELLS}
    for name in names.values():
        await administer(postgres, f"CREATE DATABASE {name}")
    yield {cell: postgres.dsn_of(name) for cell, name in names.items()}
    for name in names.values():
        await administer(postgres, f"DROP DATABASE {name} WITH (FORCE)")


async def administer(server: Postgres, statement: str) -> None:
    connection = await asyncpg.connect(server.dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


class Bus(Struct, frozen=True):
    """A NATS server with the derived configuration, whose name and ports are its own to choose."""

    popen: subprocess.Popen[bytes]
    port: int
    monitoring_port: int

    @property
    def url(self) -> str:
        """Return the URL for clients."""
        return f"nats://127.0.0.1:{self.port}"


def serve(arguments: list[str], directory: Path) -> subprocess.Popen[bytes]:
    """Start a server that logs into a file."""
    with (directory / "nats.log").open("wb") as log:
        return subprocess.Popen(arguments, env=variables(), stderr=log)


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[Bus]:
    config = tmp_path / "nats-cells.conf"
    ports = free_port(), free_port()
    write_files(tmp_path, dict.fromkeys(CELLS, ""), "", reload="[]", monitoring=0)
    written = await asyncio.to_thread(command, tmp_path / "cells.toml", "nats")
    assert written.returncode == 0, written.stderr
    addresses = ["-a", "127.0.0.1", "-p", str(ports[0]), "-m", str(ports[1])]
    popen = await asyncio.to_thread(serve, [nats_server(), "-c", str(config), *addresses], tmp_path)
    try:
        await eventually(lambda: "Server is ready" in (tmp_path / "nats.log").read_text())
        yield Bus(popen, *ports)
    finally:
        popen.kill()
        popen.wait()


@asynccontextmanager
async def stage(tmp_path: Path, bus: Bus, databases: Mapping[str, str]) -> AsyncIterator[Stage]:
    reload = f'["kill", "-HUP", "{bus.popen.pid}"]'
    file = write_files(tmp_path, databases, bus.url, reload, bus.monitoring_port)
    async with AsyncExitStack() as stack:
        pools, processes = {}, {}
        for cell, database in databases.items():
            pools[cell] = await stack.enter_async_context(pool_of(database, min_size=1, max_size=3))
            async with pools[cell].acquire() as connection:
                await migrate(connection)
            processes[cell] = start("all", tmp_path, settings_of(tmp_path, cell, database, bus.url))
            stack.callback(processes[cell].kill)
        await asyncio.gather(*map(ready, processes.values()))
        client = await stack.enter_async_context(
            a_client(
                bus.url, user="runner_acme", password="runner-acme", inbox_prefix="_INBOX_runner"
            )
        )
        runner = await stack.enter_async_context(subscribed_runner(client))
        async with pools["one"].acquire() as connection:
            made = await install(connection, materialised=TICK, tenant_id=TENANT)
            await connection.execute(
                "INSERT INTO ext_scheduler.tenant_pools VALUES ($1, 'acme', now(), 'test')", TENANT
            )
        yield Stage(file, pools, processes, client, runner, made)


class Load:
    """Changes and reads of the tenant's extension, one after the other, until told to end."""

    def __init__(self, scheduler: SchedulerHost, ids: list[str]) -> None:
        self.names: dict[str, str] = {}
        self.changes = 0
        self._scheduler = scheduler
        self._ids = ids
        self._ending = asyncio.Event()

    async def run(self) -> None:
        while not self._ending.is_set():
            id_ = self._ids[self.changes % len(self._ids)]
            name = f"change {self.changes}"
            answer = await self._scheduler.update(UpdateInput(schedule_id=id_, name=name))
            assert answer.success, answer
            self.names[id_] = name
            self.changes += 1
            assert len((await self._scheduler.list()).schedules) == len(self._ids)

    def end(self) -> None:
        self._ending.set()


async def names_in(pool: asyncpg.Pool) -> dict[str, str]:
    rows = await pool.fetch("SELECT id::text, name FROM tenant_extension_schedule")
    return {row["id"]: row["name"] for row in rows}


async def pause(pool: asyncpg.Pool) -> tuple[datetime, datetime]:
    """Return when the tenant was paused and resumed, by the audit that moved with it."""
    rows = await pool.fetch(
        "SELECT at FROM ext_scheduler.audit WHERE op = 'setTenantPaused' ORDER BY at"
    )
    first, last = (row["at"] for row in rows)
    return first, last


async def test_a_tenant_moves_under_load_and_back(
    tmp_path: Path, bus: Bus, databases: Mapping[str, str]
) -> None:
    async with stage(tmp_path, bus, databases) as cells:
        one, two = cells.pools["one"], cells.pools["two"]
        scheduler = host(cells.client, cells.made, patience=START_WITHIN_S)
        first = uuid4()
        minutely = CreateInput(endpoint=" ".join(TICK), cron="* * * * *")
        made = [await scheduler.create(minutely, jti=jti) for jti in (first, *map(UUID, OTHERS))]
        ids = [str(answer.schedule_id) for answer in made]
        created = datetime.now(UTC)
        load = Load(scheduler, ids)
        loading = asyncio.create_task(load.run())
        await cells.called_since(len(ids) - 1)

        said = await cells.move("two")
        assert "acme is paused in one" in said
        assert "acme is in two" in said
        changed = load.changes
        await cells.called_since(len(cells.runner.calls) + len(ids) - 1)
        load.end()
        await loading
        assert load.changes > changed

        assert set(cells.calls().values()) == {1}, "no slot was called twice"
        paused, resumed = await pause(two)
        called = {
            (id_, datetime.fromisoformat(slot).replace(tzinfo=UTC)) for id_, slot in cells.calls()
        }
        # Before, a minute that turned among the creations has a slot of some of them only.
        slot, last = min(s for _, s in called if s > created), max(s for _, s in called)
        while slot < last:
            if not paused - BEFORE_PAUSE <= slot <= resumed:
                assert {id_ for id_ in ids if (id_, slot) in called} == set(ids), slot
            slot += timedelta(minutes=1)
        assert await names_in(two) == load.names, "every change that was answered has moved"
        assert (await scheduler.create(minutely, jti=first)).schedule_id == made[0].schedule_id
        statuses = "SELECT DISTINCT status FROM tenant_extension_install"
        assert await one.fetchval(statuses) == "moved"
        assert await two.fetchval(statuses) == "enabled"
        assert read_cells(cells.file).tenants[TENANT].cell == "two"
        assert "# since the beginning" in cells.file.read_text()

        await cells.move("one")
        assert await one.fetchval(statuses) == "enabled"
        assert await names_in(one) == load.names
        assert len((await scheduler.list()).schedules) == len(ids)
        assert set(cells.calls().values()) == {1}


async def test_a_move_that_broke_off_is_repeated_or_undone(
    tmp_path: Path, bus: Bus, databases: Mapping[str, str]
) -> None:
    async with stage(tmp_path, bus, databases) as cells:
        one, two = cells.pools["one"], cells.pools["two"]
        scheduler = host(cells.client, cells.made, patience=START_WITHIN_S)
        hourly = CreateInput(endpoint=" ".join(TICK), cron="0 * * * *")
        id_ = str((await scheduler.create(hourly)).schedule_id)
        works = cells.file.read_text()
        reload = f'["kill", "-HUP", "{bus.popen.pid}"]'

        cells.file.write_text(works.replace(reload, '["false"]'))
        failed = await asyncio.to_thread(command, cells.file, "move", TENANT, "two")
        assert failed.returncode == 1
        assert "reload: status 1" in failed.stderr
        assert read_cells(cells.file).tenants[TENANT].cell == "one -> two"
        assert await one.fetchval("SELECT count(*) FROM ext_scheduler.tenant_pauses") == 1

        cells.file.write_text(cells.file.read_text().replace('["false"]', reload))
        await cells.move("one")
        assert read_cells(cells.file).tenants[TENANT].cell == "one"
        assert [s.id for s in (await scheduler.list()).schedules] == [id_]
        assert await one.fetchval("SELECT count(*) FROM ext_scheduler.tenant_pauses") == 0
        assert await names_in(two) == {}

        await cells.move("two")
        await cells.move("two")
        assert [s.id for s in (await scheduler.list()).schedules] == [id_]
        assert await two.fetchval("SELECT count(*) FROM ext_scheduler.tenant_pauses") == 0
        await cells.move("one")
        assert [s.id for s in (await scheduler.list()).schedules] == [id_]


async def test_a_failed_cell_costs_its_own_tenants_only(
    tmp_path: Path, bus: Bus, databases: Mapping[str, str]
) -> None:
    async with stage(tmp_path, bus, databases) as cells:
        scheduler = host(cells.client, cells.made, patience=START_WITHIN_S)
        cells.processes["two"].kill()
        assert (await scheduler.list()).schedules == []


async def test_every_table_with_tenants_is_moved_or_left_on_purpose(pool: asyncpg.Pool) -> None:
    tables = {row[0] for row in await pool.fetch(TENANT_TABLES)}
    assert tables == {*tenant_move.OF_TENANT, *tenant_move.LEFT}
