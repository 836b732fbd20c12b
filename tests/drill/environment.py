"""Everything a drill runs on: servers that may be killed, and processes that are kept running."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
from msgspec import Struct

from contracts.context import key_set_document
from devstack.embedded import Postgres, embedded_postgres, private_directory
from runner_bridge.client import SchedulerHost
from service.storage.engine.migrate import migrate
from tests.drill.nats_cluster import NatsCluster, nats_cluster
from tests.drill.planted_faults import PlantedFault, prepare, program
from tests.drill.recording_runner import RecordingRunner, connected, recording_runner
from tests.drill.standby import PRIMARY_SETTINGS, synchronous_standby
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


class DrillEnvironment(Struct):
    """A running system, its Runner, and a client for each install.

    ``standby`` has all that ``postgres`` answered, for a failover; each ``proxy`` lies between the
    processes and one of them. ``probe`` asks once, without patience.
    """

    postgres: Postgres
    proxy: FaultyProxy
    standby: Postgres
    standby_proxy: FaultyProxy
    nats: NatsCluster
    processes: list[SupervisedProcess]
    runner: RecordingRunner
    hosts: list[SchedulerHost]
    probe: SchedulerHost

    def of(self, role: str) -> list[SupervisedProcess]:
        """The processes of a role that are ready."""
        return [
            process for process in self.processes if process.role == role and process.ready.is_set()
        ]

    async def all_ready(self) -> None:
        """Wait until every process is."""
        waiting = asyncio.gather(*(process.ready.wait() for process in self.processes))
        await asyncio.wait_for(waiting, START_WITHIN_S)


@asynccontextmanager
async def drill_environment(
    installs: int, planted_fault: PlantedFault | None, *, slow: bool = False
) -> AsyncIterator[DrillEnvironment]:
    """Start everything; afterwards nothing is left. PostgreSQL keeps its durable settings.

    ``slow``: what is due waits for its turn, behind a slow Runner and few calls at a time.
    """
    async with AsyncExitStack() as stack:
        directory = stack.enter_context(private_directory())
        postgres = stack.enter_context(
            embedded_postgres(directory / "postgres", durable=True, settings=PRIMARY_SETTINGS)
        )
        standby = stack.enter_context(synchronous_standby(postgres, directory / "standby"))
        bus = stack.enter_context(nats_cluster(directory))
        installed = await prepared(postgres, installs, planted_fault)
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
        processes = [
            *(
                SupervisedProcess(f"worker {n}", program(planted_fault), settings)
                for n in range(1, WORKERS + 1)
            ),
            *(
                SupervisedProcess(f"responder {n}", program(None), settings)
                for n in range(1, RESPONDERS + 1)
            ),
        ]
        await stack.enter_async_context(supervising(processes, directory))
        hosts = [host(client, each, patience=PATIENCE_S) for each in installed]
        probe = once(client, installed[0], PROBE_WAITS_S)
        environment = DrillEnvironment(
            postgres, proxy, standby, standby_proxy, bus, processes, runner, hosts, probe
        )
        await environment.all_ready()
        yield environment


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
    postgres: Postgres, installs: int, planted_fault: PlantedFault | None
) -> list[Installed]:
    """Migrate and install; three installs share a tenant."""
    connection = await asyncpg.connect(postgres.dsn)
    try:
        await migrate(connection)
        if planted_fault is not None:
            await prepare(connection, planted_fault)
        return [
            await install(connection, tenant_id=f"tenant-{number // 3}")
            for number in range(installs)
        ]
    finally:
        await connection.close()


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
