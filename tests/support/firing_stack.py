"""Firing with a clock that the test moves, on a real database and a real bus."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import nats.errors
import pytest
from msgspec import Struct, field, structs

from contracts.subjects import EXECUTE_SUBJECT
from service.bus.client import NatsConnection
from service.rules.outcomes import RetryRules
from service.rules.planning import SlotCache
from service.runtime.metrics import Metrics
from service.storage.engine.connection import Connection as Database
from service.storage.runs import occurrences
from service.storage.runs.queue import JobPayload
from service.worker.firing import FiringSettings, RunExecutor
from service.worker.planner import PlannerSettings, plan_due
from service.worker.runner_client import RunnerClient
from tests.support import schedule_rows
from tests.support.bus_service import a_client
from tests.support.eventually import eventually
from tests.support.keys import WORKER_KEY
from tests.support.platform import TICK, Installed, install
from tests.support.runner_double import RunnerDouble, bus_runner

CAPABILITIES = ("cap:scheduler.manage", "cap:http.fetch")
SLOT = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
STEADY = RetryRules(jitter=0.0)
CLAIM_MAY_TAKE_S = 30.0
MEASURED_IN = ("firing.attempt_store", "firing.run_executor", "direct_claims")
"""Where a claim that took too long is given up."""


class FakeClock:
    """A database clock that stands still until it is moved."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    async def __call__(self, _: Database) -> datetime:
        return self.now

    def forward(self, seconds: float) -> None:
        """Move on (or, below zero, back)."""
        self.now += timedelta(seconds=seconds)


class Stack(Struct):
    """What a test of firing works with."""

    pool: asyncpg.Pool
    client: NatsConnection
    runner: RunnerDouble
    clock: FakeClock
    metrics: Metrics
    made: Installed
    settings: FiringSettings
    own: RunExecutor | None = None
    runner_connection: AsyncExitStack = field(default_factory=AsyncExitStack)

    @property
    def executor(self) -> RunExecutor:
        """Return the executor of the worker called worker-1."""
        self.own = self.own or self.another()
        return self.own

    def another(self, **changes: object) -> RunExecutor:
        """Return the executor of another worker, with settings of its own."""
        settings = structs.replace(self.settings, **changes)
        client = RunnerClient(self.client, lambda: WORKER_KEY)
        return RunExecutor(self.pool, client, self.metrics, settings, now=self.clock)

    async def planned(
        self, made: Installed | None = None, slot: datetime = SLOT, **row: object
    ) -> JobPayload:
        """Plan the slot of a new schedule; return the payload of its job."""
        async with self.pool.acquire() as connection:
            made = made or self.made
            id_ = await schedule_rows.schedule(connection, made, due_at=slot, **row)  # type: ignore[arg-type]  # passed through
            await plan_due(connection, slot, PlannerSettings(), SlotCache())
        return job(made.tenant_id, id_, slot)

    async def manual(self, schedule_id: UUID) -> JobPayload:
        """Plan a manual run of a schedule; return the payload of its job."""
        made = self.made
        async with self.pool.acquire() as connection:
            await occurrences.plan_manual_run(
                connection, made.tenant_id, made.install_id, schedule_id, self.clock.now
            )
        minute = self.clock.now.replace(second=0, microsecond=0)
        return job(made.tenant_id, schedule_id, minute, "manual")

    async def run(self, of: JobPayload) -> asyncpg.Record:
        """Return the run record of a job."""
        row = await self.pool.fetchrow(
            "SELECT * FROM ext_scheduler.runs WHERE tenant_id = $1 AND id = $2",
            of.tenant_id,
            of.run_id,
        )
        assert row is not None
        return row

    async def schedule(self, of: JobPayload) -> asyncpg.Record:
        """Return the schedule row of a job."""
        row = await self.pool.fetchrow(
            "SELECT * FROM tenant_extension_schedule WHERE id = $1", of.schedule_id
        )
        assert row is not None
        return row

    async def close_runner(self) -> None:
        """Take the Runner off the bus; return when the server knows."""
        await self.runner_connection.aclose()
        await eventually(self._nobody_listens)

    async def _nobody_listens(self) -> bool:
        try:
            await self.client.request(EXECUTE_SUBJECT, b"", timeout=1)
        except nats.errors.NoRespondersError:
            return True
        except nats.errors.TimeoutError:
            return False
        return False

    async def events(self) -> list[str]:
        """Return the types of the events that wait to be published."""
        rows = await self.pool.fetch("SELECT type FROM ext_scheduler.outbox ORDER BY sequence")
        return [row["type"] for row in rows]

    def total(self, name: str, **labels: str) -> float:
        """Return the value of a metric."""
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


def job(tenant_id: str, schedule_id: UUID, slot: datetime, kind: str = "scheduled") -> JobPayload:
    """Return the payload of an occurrence's job."""
    return JobPayload(
        tenant_id, occurrences.occurrence_id(schedule_id, slot, kind), schedule_id, slot
    )


@contextmanager
def unhurried() -> Iterator[None]:
    """Let claims take 30 s within the context, not 3: how fast the machine is is no finding."""
    with pytest.MonkeyPatch.context() as patch:
        for module in MEASURED_IN:
            patch.setattr(f"service.worker.{module}.TIMEOUT_STEP_S", CLAIM_MAY_TAKE_S)
        yield


@asynccontextmanager
async def firing_stack(pool: asyncpg.Pool, url: str) -> AsyncIterator[Stack]:
    """Yield everything, with one install and a Runner that answers 200."""
    settings = FiringSettings(worker="worker-1", runner_timeout_s=30.0, retries=STEADY)
    async with (
        AsyncExitStack() as patient,
        a_client(url) as client,
        AsyncExitStack() as runner_connection,
    ):
        patient.enter_context(unhurried())
        runner = await runner_connection.enter_async_context(bus_runner(url))
        async with pool.acquire() as connection:
            made = await install(
                connection,
                declared=CAPABILITIES,
                granted=CAPABILITIES,
                content_hash="sha256:abc",
                materialised=TICK,
            )
        clock = FakeClock(SLOT + timedelta(seconds=1))
        yield Stack(
            pool,
            client,
            runner,
            clock,
            Metrics(),
            made,
            settings,
            runner_connection=runner_connection,
        )
