"""Making trouble on purpose, and asking once, without the patience of a real client."""

import os
import signal
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from uuid import UUID

import aiohttp
import asyncpg
import psutil
from nats.aio.client import Client

from contracts.errors import ServiceError
from contracts.schedules import CreateInput
from devstack.embedded import Postgres
from runner_bridge.client import InstallContext, SchedulerHost
from runner_bridge.requests import RequestSettings, SignedRequests
from tests.support.eventually import eventually
from tests.support.keys import RUNNER_KEY
from tests.support.platform import Installed
from tests.support.responders import Process

HOURLY = CreateInput(endpoint="/api/heartbeat", cron="0 * * * *")
CALLER_WAITS_S = 90.0
SOON_S = 45.0
"""Long on any machine, and still sooner than a caller gives up, or a service that is PATIENT."""


def once(client: Client, installed: Installed, within: float = CALLER_WAITS_S) -> SchedulerHost:
    """Return the scheduler for this install without retries; ``within`` is also its deadline."""
    settings = RequestSettings(
        attempt_timeout_s=within,
        total_timeout_s=within,
        first_delay_s=999,
        max_delay_s=999,
    )
    requests = SignedRequests(client, lambda: RUNNER_KEY, settings)
    return SchedulerHost(
        requests, InstallContext(install_id=installed.install_id, tenant_id=installed.tenant_id)
    )


async def created(scheduler: SchedulerHost, request: CreateInput = HOURLY) -> str:
    """Return what became of a create, in a word."""
    try:
        answer = await scheduler.create(request)
    except ServiceError as error:
        return error.code.value
    return "created" if answer.success else str(answer.code)


async def listed(scheduler: SchedulerHost) -> str:
    """Return what became of a list, in a word."""
    try:
        await scheduler.list()
    except ServiceError as error:
        return error.code.value
    return "listed"


@asynccontextmanager
async def locked(pool: asyncpg.Pool, install_id: UUID) -> AsyncIterator[None]:
    """Hold the row that all changes of an install wait for."""
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(
            "SELECT FROM tenant_extension_install WHERE id = $1 FOR UPDATE", install_id
        )
        yield


async def waiting_for_locks(pool: asyncpg.Pool) -> int:
    """Return how many sessions of this database wait for one."""
    count: int = await pool.fetchval(
        """SELECT count(*) FROM pg_stat_activity
           WHERE datname = current_database() AND wait_event_type = 'Lock'"""
    )
    return count


async def readiness(process: Process) -> tuple[int, dict[str, str]]:
    """Return the status of /readyz, and what it says of each check."""
    async with aiohttp.ClientSession() as session, session.get(f"{process.url}/readyz") as reply:
        return reply.status, (await reply.json())["checks"]


async def shown(process: Process, status: int, **well: bool) -> bool:
    """Return whether /readyz answers with this status, and says of these checks what they are."""
    seen, checks = await readiness(process)
    assert (seen, {name: checks[name] == "ok" for name in well}) == (status, well), checks
    return True


async def metric(process: Process, sample: str) -> float:
    """Return the value of one sample of /metrics, 0 where it is not there yet."""
    async with aiohttp.ClientSession() as session, session.get(f"{process.url}/metrics") as reply:
        for line in (await reply.text()).splitlines():
            if line.startswith(sample + " "):
                return float(line.rpartition(" ")[2])
    return 0.0


@asynccontextmanager
async def frozen_backends(pool: asyncpg.Pool) -> AsyncIterator[None]:
    """Freeze the processes that serve the responders' connections to this database, between
    statements: one that is stopped while it writes to the log stops everybody's commits.
    """
    with ExitStack() as stack:

        async def between_statements() -> bool:
            stack.close()
            backends = [pid for pid, _ in await _backends(pool)]
            stack.enter_context(frozen(backends))
            # What is being frozen may hold what this one needs.
            with suppress(TimeoutError):
                return {state for _, state in await _backends(pool, within=2.0)} == {"idle"}
            return False

        await eventually(between_statements)
        yield


async def _backends(pool: asyncpg.Pool, within: float | None = None) -> list[tuple[int, str]]:
    rows = await pool.fetch(
        """SELECT pid, state FROM pg_stat_activity
           WHERE datname = current_database() AND application_name LIKE 'ext-scheduler%'""",
        timeout=within,
    )
    return [(row["pid"], row["state"]) for row in rows]


@contextmanager
def frozen_server(postgres: Postgres) -> Iterator[None]:
    """Freeze its first process, which then makes no others, and all that there are."""
    first = psutil.Process(postgres.server.pid)
    with frozen([first.pid]), frozen([each.pid for each in first.children(recursive=True)]):
        yield


@contextmanager
def frozen(pids: Sequence[int]) -> Iterator[None]:
    """Stop processes without ending them: their sockets stay open, and nothing answers.

    Those that have just ended by themselves do not matter.
    """
    _signalled(pids, signal.SIGSTOP)
    try:
        yield
    finally:
        _signalled(pids, signal.SIGCONT)


def _signalled(pids: Sequence[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
