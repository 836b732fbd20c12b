"""What recent runs say of the Runner that they were called in."""

from msgspec import Struct

from service.storage.engine.connection import Connection

# Runs of the last hour, by the index on slots. ``duration_ms`` is that of the last attempt.
SYMPTOMS = """
SELECT count(*) AS runs,
  count(*) FILTER (WHERE r.error LIKE '%type mismatch with async%') AS async_mismatches,
  count(*) FILTER (WHERE r.duration_ms > $1::integer) AS slow
FROM ext_scheduler.runs r
WHERE r.slot > now() - interval '1 hour' AND r.finished_at IS NOT NULL
"""


class RunnerSymptoms(Struct, frozen=True):
    """The numbers of runs of the last hour: all, refused as async, and slow."""

    runs: int
    async_mismatches: int
    slow: int


async def recent(connection: Connection, slow_ms: int) -> RunnerSymptoms:
    """Count the runs of the last hour; those of more than ``slow_ms`` are slow."""
    row = await connection.fetchrow(SYMPTOMS, slow_ms)
    assert row is not None  # noqa: S101 - an aggregate without groups has one row
    return RunnerSymptoms(*row)
