"""``admin account`` as a process: totals, the schedules that stand out, and how it ends."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from tests.support import schedule_rows
from tests.support.command_line import CommandLine, command_line, error_line
from tests.support.platform import TICK, install
from tests.support.responders import responders

RUNS = """
INSERT INTO ext_scheduler.runs (tenant_id, id, install_id, schedule_id, slot, kind, trigger, status,
  queued_at)
SELECT s.tenant_id, gen_random_uuid(), s.install_id, s.id, slot, 'scheduled', 'schedule',
  'success', slot
FROM tenant_extension_schedule s, generate_series($1::timestamptz, $2, interval '5 minutes') slot
"""


@pytest.fixture
async def line(tmp_path: Path, database: str, nats_url: str) -> AsyncIterator[CommandLine]:
    """Yield a command line with a responder behind it."""
    async with responders(1, tmp_path, database, nats_url):
        yield command_line(tmp_path, nats_url)


async def test_account_adds_up_and_fails_where_a_run_row_is_gone(
    line: CommandLine, pool: asyncpg.Pool
) -> None:
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=2)
    async with pool.acquire() as connection:
        made = await install(connection, tenant_id="acme", materialised=TICK)
        ids = [await schedule_rows.schedule(connection, made) for _ in range(2)]
        await connection.execute("UPDATE tenant_extension_schedule SET created_at = $1", hour)
        await connection.execute(RUNS, hour, hour + timedelta(hours=1))
    begin, end = (f"{at:%Y-%m-%dT%H:%M:%SZ}" for at in (hour, hour + timedelta(hours=1)))
    window = ("--from", begin, "--to", end)
    whole = (await line.ok("admin", "account", *window)).out
    assert [word for word in whole.split() if word.isdigit()] == ["2", "24", "24", *["0"] * 4]
    assert "did not all fire" not in whole

    await _lose_a_run(pool, ids[0])
    failed = await line("admin", "account", "--tenant", "acme", *window)
    assert "1 slots are unaccounted for" in error_line(failed, 1)
    assert str(ids[0])[:8] in failed.out
    assert str(ids[1])[:8] not in failed.out
    unknown = await line("admin", "account", "--tenant", "acmee")
    error_line(unknown, 5)


async def _lose_a_run(pool: asyncpg.Pool, schedule_id: UUID) -> None:
    await pool.execute(
        "DELETE FROM ext_scheduler.runs WHERE (tenant_id, id) IN (SELECT tenant_id, id"
        " FROM ext_scheduler.runs WHERE schedule_id = $1 ORDER BY slot OFFSET 5 LIMIT 1)",
        schedule_id,
    )
