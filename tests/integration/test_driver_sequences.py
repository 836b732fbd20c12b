"""The platform's writes and ours on one schedule row, in every order: one driver, never two.

pg-boss is its table of schedules here: what is in it, pg-boss fires.
"""

from collections.abc import Awaitable, Callable
from itertools import product
from uuid import UUID

import asyncpg
import pytest
from msgspec import Struct

from tests.integration.test_foreign_schedules import (
    CANCELLED,
    CRON,
    OFF,
    ON,
    OWN_JOB,
    a_round,
)
from tests.support.admin import Admin, operator
from tests.support.job_runners import Setting, make_setting

PG_BOSS = "CREATE SCHEMA pgboss; CREATE TABLE pgboss.schedule (name text PRIMARY KEY)"
NAME = "'extsched:' || s.install_id || ':' || s.id"
MAKE_JOB = f"""
INSERT INTO pgboss.schedule
SELECT {NAME} FROM tenant_extension_schedule s WHERE s.id = $1 AND s.enabled
ON CONFLICT DO NOTHING RETURNING name
"""
CANCEL_JOB = f"""
DELETE FROM pgboss.schedule p USING tenant_extension_schedule s WHERE p.name = {NAME} AND s.id = $1
"""
DRIVERS = f"""
SELECT s.enabled, coalesce(s.released AND s.job_id IS NULL, false) AS waits_for_the_platform,
  (s.job_id = s.id) IS TRUE AS has_our_handle,
  EXISTS (SELECT FROM ext_scheduler.timers t WHERE t.schedule_id = s.id) AS ours,
  EXISTS (SELECT FROM pgboss.schedule p WHERE p.name = {NAME}) AS pg_boss
FROM tenant_extension_schedule s WHERE s.id = $1
"""


class Both(Struct, frozen=True):
    """The platform and this service at work on schedules of one install."""

    setting: Setting
    everybody: Admin

    async def run(self, statement: str, id_: UUID) -> None:
        await self.setting.pool.execute(statement, id_)

    async def change(self, id_: UUID, **fields: object) -> None:
        """Change it through this service, which refuses that for a row of the platform's."""
        names = {"installId": str(self.setting.install_id), "scheduleId": str(id_)}
        await self.setting.admin("updateSchedule", **names, **fields)


async def switch_off(both: Both, id_: UUID) -> None:
    await both.run(CANCEL_JOB, id_)
    await both.run(OFF, id_)


async def switch_on_without_job(both: Both, id_: UUID) -> None:
    await both.run(ON, id_)


async def make_job(both: Both, id_: UUID) -> None:
    if await both.setting.pool.fetchval(MAKE_JOB, id_):
        await both.run(OWN_JOB, id_)


async def switch_on(both: Both, id_: UUID) -> None:
    await both.run(ON, id_)
    await make_job(both, id_)


async def change_cron_by_another_job(both: Both, id_: UUID) -> None:
    for statement in (CANCEL_JOB, CANCELLED, CRON):
        await both.run(statement, id_)
    await make_job(both, id_)


async def change_cron_in_place(both: Both, id_: UUID) -> None:
    await both.run(CRON, id_)


async def delete(both: Both, id_: UUID) -> None:
    await both.run(CANCEL_JOB, id_)
    await both.run("DELETE FROM tenant_extension_schedule WHERE id = $1", id_)


async def adopt(both: Both, id_: UUID) -> None:
    fields = {"tenantId": "tenant-1", "scheduleIds": [str(id_)], "pgBossSchema": "pgboss"}
    assert (await both.everybody("adopt", **fields))["success"]


async def release(both: Both, id_: UUID) -> None:
    await both.setting.admin("release", scheduleId=str(id_))


async def disable(both: Both, id_: UUID) -> None:
    await both.change(id_, enabled=False)


async def enable(both: Both, id_: UUID) -> None:
    await both.change(id_, enabled=True)


Step = Callable[[Both, UUID], Awaitable[None]]
THEIRS: list[Step] = [
    switch_off,
    switch_on_without_job,
    make_job,
    switch_on,
    change_cron_by_another_job,
    change_cron_in_place,
    delete,
]
OURS: list[Step] = [adopt, release, disable, enable]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("rounds_between", [False, True])
async def test_any_order_of_two_writes_leaves_one_driver(
    setting: Setting, *, rounds_between: bool
) -> None:
    """With a worker's round after each, as slow as the platform may be, and without.

    Every row begins with pg-boss: the writes meet it there, adopted, and released again.
    """
    both = Both(setting, operator(setting.admin.dispatcher))
    await setting.pool.execute(PG_BOSS)
    beginnings: list[list[Step]] = [[], [adopt], [adopt, release]]
    cases = [
        (await setting.foreign(), [*beginning, *steps])
        for beginning in beginnings
        for steps in product([*THEIRS, *OURS], repeat=2)
        if set(steps) & set(OURS) and set(steps) & set(THEIRS)
    ]
    for id_, _ in cases:
        await setting.pool.execute(MAKE_JOB, id_)
    for step in range(max(len(steps) for _, steps in cases)):
        for id_, steps in cases:
            if step < len(steps):
                await steps[step](both, id_)
        if rounds_between:
            await a_round(setting)
    await a_round(setting)
    for id_, steps in cases:
        row = await setting.pool.fetchrow(DRIVERS, id_)
        case = [step.__name__ for step in steps]
        if row is None:
            assert delete in steps, case
            assert id_ not in await setting.timers(), case
        elif row["enabled"] and not row["waits_for_the_platform"]:
            assert [row["ours"], row["pg_boss"]].count(True) == 1, (case, row)
            assert row["has_our_handle"] == row["ours"], (case, row)
        else:
            assert [row["ours"], row["pg_boss"]] == [False, False], (case, row)


@pytest.fixture
async def setting(pool: asyncpg.Pool) -> Setting:
    return await make_setting(pool)
