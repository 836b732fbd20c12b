"""One run with its attempts."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct

from service.storage.engine.connection import Connection
from service.storage.platform import tenants
from service.storage.runs.history import COLUMNS, RunRow

RUN = f"""
SELECT {COLUMNS}, r.retry_at, r.lease_until, r.fence FROM ext_scheduler.runs r
WHERE r.tenant_id = ANY ($1::text[]) AND r.id = $2::uuid
"""

EARLIER_ATTEMPTS = """
SELECT a.attempt, a.worker, a.started_at, a.finished_at, a.duration_ms, a.http_status, a.error
FROM ext_scheduler.run_attempts a
WHERE a.tenant_id = $1::text AND a.run_id = $2::uuid
ORDER BY a.attempt
"""

TENANTS_AT_ONCE = 1000


class Attempt(Struct, frozen=True):
    """An attempt that a further one followed; without an end where its worker was lost."""

    attempt: int
    worker: str | None
    started_at: datetime | None
    finished_at: datetime | None
    duration_ms: int | None
    http_status: int | None
    error: str | None


class RunDetail(Struct, frozen=True):
    """A run, when it is tried again or given up, its latest claim, and its earlier attempts."""

    run: RunRow
    retry_at: datetime | None
    lease_until: datetime | None
    fence: int
    earlier: Sequence[Attempt]


async def load(connection: Connection, tenant_id: str | None, run_id: UUID) -> RunDetail | None:
    """Return a run of a tenant, or of any where ``tenant_id`` is None."""
    row = None
    if tenant_id is not None:
        row = await connection.fetchrow(RUN, [tenant_id], run_id)
    # No index begins with the id, which would cost every run: each tenant's key is looked up.
    after = ""
    while tenant_id is None and row is None:
        ids = [
            row[0] for row in await connection.fetch(tenants.WITH_INSTALLS, after, TENANTS_AT_ONCE)
        ]
        if not ids:
            return None
        row = await connection.fetchrow(RUN, ids, run_id)
        after = ids[-1]
    if row is None:
        return None
    *columns, retry_at, lease_until, fence = row
    run = RunRow(*columns)
    earlier = await connection.fetch(EARLIER_ATTEMPTS, run.tenant_id, run.id)
    return RunDetail(run, retry_at, lease_until, fence, [Attempt(*each) for each in earlier])
