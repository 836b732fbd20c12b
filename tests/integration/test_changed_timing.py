"""A change of timing, as the planner finds it."""

from datetime import timedelta

import asyncpg

from service.rules.limits import Limits
from service.rules.planning import SlotCache
from service.worker.planner import PlannerSettings, plan_due
from tests.support.host import Caller, dispatcher
from tests.support.platform import install


async def test_a_slot_that_old_and_new_expression_share_is_fired(pool: asyncpg.Pool) -> None:
    ask = Caller(dispatcher(pool, Limits()), await install(pool))
    created = await ask("create", endpoint="/api/heartbeat", cron="0 * * * *")
    same = {"cron": "0 0-23 * * *", "timezone": "Europe/Berlin"}
    assert await ask("update", scheduleId=created["scheduleId"], **same) == {"success": True}
    timer = await pool.fetchrow("SELECT * FROM ext_scheduler.timers")
    assert timer is not None
    assert (timer["cron"], timer["timezone"]) == tuple(same.values())
    async with pool.acquire() as connection:
        later = timer["due_at"] + timedelta(seconds=1)
        planned = await plan_due(connection, later, PlannerSettings(), SlotCache())
    assert planned.occurrences == 1
    assert await pool.fetchval("SELECT slot FROM ext_scheduler.runs") == timer["due_at"]


async def test_a_row_of_another_writer_gets_a_timer_once_it_is_changed(
    pool: asyncpg.Pool,
) -> None:
    installed = await install(pool)
    ask = Caller(dispatcher(pool, Limits()), installed)
    await ask("getEndpoints")
    id_ = await pool.fetchval(
        """INSERT INTO tenant_extension_schedule (install_id, tenant_id, endpoint_id, cron)
           SELECT $1, $2, id, '0 * * * *' FROM extension_api_endpoint LIMIT 1 RETURNING id""",
        installed.install_id,
        installed.tenant_id,
    )
    assert await ask("update", scheduleId=str(id_), name="mine") == {"success": True}
    row = await pool.fetchrow("SELECT job_id, runner_schedule_id FROM tenant_extension_schedule")
    assert row is not None
    assert tuple(row) == (id_, f"extsched:{installed.install_id}:{id_}")
    assert await pool.fetchval("SELECT schedule_id FROM ext_scheduler.timers") == id_
