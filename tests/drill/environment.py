"""Everything a drill runs on: servers that may be killed, and processes that are kept running."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
from msgspec import Struct, field

from contracts.context import key_set_document
from devstack.embedded import Postgres, private_directory
from runner_bridge.client import SchedulerHost
from service.storage.engine.migrate import migrate
from tests.drill.host_clock import HostClock, NoHostClock
from tests.drill.nats_cluster import NatsCluster, nats_cluster
from tests.drill.planted_faults import PlantedFault, prepare, program
from tests.drill.recording_runner import RecordingRunner, connected, recording_runner
from tests.drill.small_disk import NoSmallDisk, SmallDisk, small_disk
from tests.drill.standby import primary, synchronous_standby
from tests.drill.supervisor import SupervisedProcess
from tests.support.faulty_proxy import FaultyProxy, faulty_proxy
from tests.support.keys import WORKER_JWK, write_key_set
from tests.support.platform import Installed, install
from tests.support.responders import host
from tests.support.trouble import once

WORKERS, RESPONDERS = 3, 2
START_WITHIN_S = 150.0
STOP_WITHIN_S = 60.0
"""More than a process may take to end."""
PATIENCE_S = 20.0
PROBE_WAITS_S = 2.0
DISK_MB = 768
"""Room for an hour of slots; while it is full, it is memory of this machine."""
FEW = 10
"""Calls at a time of a worker: with a slow Runner, seven a second."""
COMMON = {
    "log_level": "warning",
    "log_format": "json",
    # As short as they may be: slots every minute, and what was lost is noticed within seconds.
    "min_interval_minutes": "1",
    "heartbeat_s": "5",
    "runner_timeout_s": "4",
    "retry_delays_s": "2,4,8",
    "catchup_spread_s": "5",
    # Changes come as fast as the machine makes them, not as extensions may.
    "changes_per_minute": "1000000",
    "max_schedules": "1000",
}


class Database(Struct, frozen=True):
    """A server, the proxy between it and the processes, its small disk, and its host's clock."""

    postgres: Postgres
    proxy: FaultyProxy
    disk: SmallDisk | None
    clock: HostClock | None


class DrillEnvironment(Struct):
    """A running system, its Runner, and a client for each install.

    ``standby`` has all that ``database`` answered, for a failover; ``database_lock`` is held by
    whoever ends or freezes one of them. ``clocks`` are those of some workers' hosts. ``probe`` asks
    once, without patience. ``not_injected`` says which faults this machine does not allow.
    """

    database: Database
    standby: Database
    nats: NatsCluster
    processes: list[SupervisedProcess]
    runner: RecordingRunner
    hosts: list[SchedulerHost]
    probe: SchedulerHost
    clocks: list[HostClock]
    not_injected: list[str]
    database_lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def of(self, role: str) -> list[SupervisedProcess]:
        """Return the processes of a role that are ready."""
        return [
            process for process in self.processes if process.role == role and process.ready.is_set()
        ]

    async def all_ready(self) -> None:
        """Wait until every process is."""
        waiting = asyncio.gather(*(process.ready.wait() for process in self.processes))
        await asyncio.wait_for(waiting, START_WITHIN_S)


@asynccontextmanager
async def drill_environment(
    installs: int,
    planted_fault: PlantedFault | None,
    *,
    slow: bool = False,
    previous: Path | None = None,
) -> AsyncIterator[DrillEnvironment]:
    """Start everything; afterwards nothing is left. PostgreSQL keeps its durable settings.

    ``slow``: what is due waits for its turn, behind a slow Runner and few calls at a time.
    ``previous``: the program of an earlier release, which migrated the database, and which all
    processes run at first.
    """
    async with AsyncExitStack() as stack:
        directory = stack.enter_context(private_directory())
        not_injected: list[str] = []
        disks = small_disks(stack, directory, not_injected)
        of_databases = database_clocks(directory, not_injected)
        postgres = stack.enter_context(primary(directory / "postgres", disks[0], of_databases[0]))
        standby = stack.enter_context(
            synchronous_standby(postgres, directory / "standby", disks[1], of_databases[1])
        )
        bus = await stack.enter_async_context(nats_cluster(directory))
        installed = await prepared(postgres, installs, planted_fault, previous)
        proxy = await stack.enter_async_context(faulty_proxy(postgres.dsn))
        standby_proxy = await stack.enter_async_context(faulty_proxy(standby.dsn))
        runner = await stack.enter_async_context(recording_runner(bus.url, slow=slow))
        client = await connected(bus.url)
        stack.push_async_callback(client.close)
        settings = {
            **COMMON,
            **files(directory),
            "database_url": two_hosts(proxy, standby_proxy),
            "nats_url": bus.url,
        }
        if slow:
            settings["in_flight"] = str(FEW)
        clocks = host_clocks(directory, not_injected)
        of_hosts = [each.variables for each in clocks]
        of_hosts += [{}] * (WORKERS - len(clocks))
        command = program(planted_fault) if previous is None else (str(previous),)
        processes = [
            *(
                SupervisedProcess(f"worker {n}", command, settings, variables)
                for n, variables in enumerate(of_hosts, 1)
            ),
            *(
                SupervisedProcess(
                    f"responder {n}", command if previous else program(None), settings
                )
                for n in range(1, RESPONDERS + 1)
            ),
        ]
        await stack.enter_async_context(supervising(processes, directory))
        hosts = [host(client, each, patience=PATIENCE_S) for each in installed]
        probe = once(client, installed[0], PROBE_WAITS_S)
        environment = DrillEnvironment(
            Database(postgres, proxy, disks[0], of_databases[0]),
            Database(standby, standby_proxy, disks[1], of_databases[1]),
            bus,
            processes,
            runner,
            hosts,
            probe,
            clocks,
            not_injected,
        )
        await environment.all_ready()
        yield environment


def small_disks(
    stack: AsyncExitStack, directory: Path, not_injected: list[str]
) -> list[SmallDisk | None]:
    """Mount one for each database server, or say why there is none."""
    try:
        return [
            stack.enter_context(small_disk(directory / f"disk-{number}", DISK_MB))
            for number in range(2)
        ]
    except NoSmallDisk as refusal:
        not_injected.append(f"a full disk: {refusal}")
        return [None, None]


def host_clocks(directory: Path, not_injected: list[str]) -> list[HostClock]:
    """Return clocks for two workers of three, or say why there are none."""
    try:
        return [HostClock(directory / f"clock-{number}") for number in range(WORKERS - 1)]
    except NoHostClock as refusal:
        not_injected.append(f"clocks of hosts stepping: {refusal}")
        return []


def database_clocks(directory: Path, not_injected: list[str]) -> list[HostClock | None]:
    """Return one for each database server, or say why there is none."""
    try:
        return [
            HostClock(directory / f"database-clock-{number}", of_threads=False)
            for number in range(2)
        ]
    except NoHostClock as refusal:
        not_injected.append(f"the database's clock stepping: {refusal}")
        return [None, None]


@asynccontextmanager
async def supervising(processes: list[SupervisedProcess], directory: Path) -> AsyncIterator[None]:
    """Supervise for the length of the block; what then still runs is killed."""
    tasks = [asyncio.create_task(each.supervise(directory)) for each in processes]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        for each in processes:
            each.end()
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome


async def stop(processes: list[SupervisedProcess], within: float = STOP_WITHIN_S) -> None:
    """Ask all to end, and wait until they have. Raises AssertionError, saying who has not."""
    for each in processes:
        each.stop()
    try:
        async with asyncio.timeout(within):
            for each in processes:
                await each.ended.wait()
    except TimeoutError:
        late = [each.account() for each in processes if not each.ended.is_set()]
        raise AssertionError(f"not stopped within {within} s: " + "\n".join(late)) from None


async def prepared(
    postgres: Postgres,
    installs: int,
    planted_fault: PlantedFault | None,
    previous: Path | None,
) -> list[Installed]:
    """Migrate, as an earlier release does if one is given, and install; three share a tenant."""
    if previous is not None:
        await asyncio.to_thread(migrate_as, previous, postgres)
    connection = await asyncpg.connect(postgres.dsn)
    try:
        if previous is None:
            await migrate(connection)
        if planted_fault is not None:
            await prepare(connection, planted_fault)
        return [
            await install(connection, tenant_id=f"tenant-{number // 3}")
            for number in range(installs)
        ]
    finally:
        await connection.close()


def migrate_as(previous: Path, postgres: Postgres) -> None:
    """Migrate with the program of an earlier release. Raises CalledProcessError."""
    environment = {**os.environ, "EXT_SCHEDULER_DATABASE_URL": postgres.dsn}
    subprocess.run([str(previous), "migrate"], check=True, env=environment, capture_output=True)


def two_hosts(first: FaultyProxy, second: FaultyProxy) -> str:
    """Return the DSN of one database with two hosts, the second of which may be a standby."""
    parts = urlsplit(first.dsn)
    other = urlsplit(second.dsn).netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{parts.netloc},{other}"))


def files(directory: Path) -> dict[str, str]:
    """Write the keys; return the settings that name them."""
    (directory / "worker.json").write_bytes(key_set_document([WORKER_JWK]))
    return {
        "key_set_file": str(write_key_set(directory / "keys.json")),
        "runner_key_file": str(directory / "worker.json"),
    }
