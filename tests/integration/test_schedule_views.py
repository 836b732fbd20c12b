"""What a list shows of rows that others wrote: PostgreSQL's own texts are the wire's."""

from datetime import UTC, datetime

import asyncpg
import pytest

from contracts.times import wire_time
from service.storage.schedules import owner_view
from service.storage.schedules.owner_view import ScheduleView
from tests.support.platform import Installed, install

INSERT = """
INSERT INTO tenant_extension_schedule
  (install_id, tenant_id, cron, created_at, updated_at, last_run_at, timezone, enabled, revision)
VALUES ($1, $2, '0 * * * *', $3, $4, $5, $6, NULL, NULL)
"""


async def only(pool: asyncpg.Pool, installed: Installed) -> ScheduleView:
    """Return the one schedule of the install."""
    async with pool.acquire() as connection:
        found = await owner_view.list_with_install(
            connection, installed.tenant_id, installed.install_id
        )
    assert found is not None
    (schedule,) = found[1]
    return schedule


@pytest.mark.parametrize(
    "instant",
    [
        datetime(2026, 1, 2, 3, 4, 5, 999_999, UTC),
        datetime(2026, 10, 25, 1, 30, 0, 1_000, UTC),
        datetime(1970, 1, 1, tzinfo=UTC),
    ],
)
async def test_instants_are_written_as_the_wire_writes_them(
    pool: asyncpg.Pool, instant: datetime
) -> None:
    installed = await install(pool)
    ids = (installed.install_id, installed.tenant_id)
    await pool.execute(INSERT, *ids, instant, instant, instant, "UTC")
    schedule = await only(pool, installed)
    assert {schedule.created_at, schedule.updated_at, schedule.last_run_at} == {wire_time(instant)}


async def test_columns_without_a_zone_or_a_value_are_rendered(
    pool: asyncpg.Pool,
) -> None:
    await pool.execute(
        """ALTER TABLE tenant_extension_schedule
             ALTER created_at TYPE timestamp, ALTER updated_at TYPE timestamp,
             ALTER created_at DROP NOT NULL, ALTER updated_at DROP NOT NULL,
             ALTER last_run_at TYPE timestamp"""
    )
    installed = await install(pool)
    ids = (installed.install_id, installed.tenant_id)
    await pool.execute(INSERT, *ids, None, None, datetime(2026, 1, 2, 3, 4, 5), None)  # noqa: DTZ001 - the column has no zone
    schedule = await only(pool, installed)
    assert schedule.created_at == schedule.updated_at == "1970-01-01T00:00:00.000Z"
    assert schedule.last_run_at == "2026-01-02T03:04:05.000Z"
    assert (schedule.timezone, schedule.enabled, schedule.revision) == ("UTC", False, 1)
    assert (schedule.endpoint_path, schedule.endpoint_method) == ("", "")
    assert (schedule.next_run_at, schedule.payload) == (None, None)
