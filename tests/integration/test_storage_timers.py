"""Which timers are due, who may move them, and the state by which the planner decides."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest
from msgspec import structs

from service.storage.schedules import firing_state, timers
from service.storage.schedules.firing_state import ScheduleState
from service.storage.schedules.timers import Timer
from tests.support import schedule_rows
from tests.support.locks import another_session, unlocked
from tests.support.platform import TICK, Installed, install

SLOT = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
INSTALL, OTHER_INSTALL = uuid4(), uuid4()
TABLE = "ext_scheduler.timers"


def timer(
    due_at: datetime = SLOT,
    *,
    tenant_id: str = "tenant-1",
    number: int | None = None,
    install_id: UUID = INSTALL,
) -> Timer:
    schedule_id = uuid4() if number is None else UUID(int=number)
    return Timer(tenant_id, schedule_id, install_id, "*/5 * * * *", "UTC", due_at)


async def added(connection: asyncpg.Connection, *given: Timer) -> list[Timer]:
    await timers.add(connection, given)
    return list(given)


async def stored(connection: asyncpg.Connection) -> dict[tuple[str, UUID], Timer]:
    found = [Timer(*row) for row in await connection.fetch(f"SELECT * FROM {TABLE}")]
    return {each.key: each for each in found}


async def lock_row(other: asyncpg.Connection, of: Timer) -> None:
    await other.execute(f"SELECT FROM {TABLE} WHERE schedule_id = $1 FOR UPDATE", of.schedule_id)


async def test_an_added_timer_does_not_replace_another(connection: asyncpg.Connection) -> None:
    await timers.add(connection, [])
    one, two = await added(connection, timer(), structs.replace(timer(), missed=3))
    await added(connection, structs.replace(one, due_at=SLOT + MINUTE))
    assert await stored(connection) == {one.key: one, two.key: two}


async def test_a_timer_is_due_from_its_instant_on_the_earliest_first(
    connection: asyncpg.Connection,
) -> None:
    assert await timers.next_due(connection) is None
    now, later, earlier, latest = await added(
        connection,
        timer(SLOT),
        timer(SLOT + timedelta(microseconds=1)),
        timer(SLOT - MINUTE),
        timer(SLOT + MINUTE),
    )
    assert await timers.next_due(connection) == SLOT - MINUTE
    assert await timers.count_due(connection, SLOT) == 2
    async with connection.transaction():
        assert await timers.take_due(connection, SLOT, 10) == [earlier, now]
        assert await timers.take_due(connection, SLOT, 1) == [earlier]
        assert await timers.take_due(connection, later.due_at, 10) == [earlier, now, later]
    assert latest.key in await stored(connection)


async def test_a_due_timer_is_taken_by_one_session(
    connection: asyncpg.Connection, database: str
) -> None:
    busy, free = await added(connection, timer(SLOT - MINUTE), timer())
    async with (
        another_session(database) as other,
        other.transaction(),
        connection.transaction(),
    ):
        await lock_row(other, busy)
        assert await timers.take_due(connection, SLOT, 10) == [free]
        assert await timers.take_due(other, SLOT, 10) == [busy]


async def test_timers_are_locked_by_their_keys_but_for_those_of_another_session(
    connection: asyncpg.Connection, database: str
) -> None:
    busy, one, two, other_one = await added(connection, timer(), timer(), timer(), timer())
    async with (
        another_session(database) as other,
        other.transaction(),
        connection.transaction(),
    ):
        await lock_row(other, busy)
        locked = await timers.lock(connection, [busy.key, one.key, two.key, ("none", uuid4())])
        assert sorted(locked) == sorted([one.key, two.key])
        await other.execute("SET LOCAL lock_timeout = '20s'")
        assert await unlocked(other, TABLE, "schedule_id") == {
            busy.schedule_id,
            other_one.schedule_id,
        }


async def test_a_timer_is_moved_or_advanced_alone(connection: asyncpg.Connection) -> None:
    one, two, other = await added(connection, timer(), timer(), timer())
    for write in (timers.move, timers.advance, timers.add):
        await write(connection, [])
    moved = Timer(*one.key, OTHER_INSTALL, "0 9 * * *", "Europe/Berlin", SLOT + MINUTE, 2)
    await timers.move(connection, [moved])
    # Of an advanced timer only the instant and the count are written.
    advanced = structs.replace(two, due_at=SLOT + 5 * MINUTE, missed=1)
    await timers.advance(connection, [structs.replace(advanced, cron="0 0 1 1 *")])
    assert await stored(connection) == {one.key: moved, two.key: advanced, other.key: other}


async def test_timers_of_two_tenants_are_two(connection: asyncpg.Connection) -> None:
    one, two = await added(connection, timer(number=1), timer(tenant_id="tenant-2", number=1))
    later = structs.replace(one, due_at=SLOT + MINUTE)
    await timers.advance(connection, [later])
    assert await stored(connection) == {one.key: later, two.key: two}
    await timers.remove(connection, [one.key])
    assert await stored(connection) == {two.key: two}


async def test_timers_are_removed_by_their_keys(connection: asyncpg.Connection) -> None:
    one, two, other = await added(connection, timer(), timer(), timer())
    await timers.remove(connection, [])
    await timers.remove(connection, [one.key, two.key])
    assert await stored(connection) == {other.key: other}


async def test_the_timers_of_an_install_are_removed_and_no_others(
    connection: asyncpg.Connection, database: str
) -> None:
    _one, _two, other_install, other_tenant = await added(
        connection,
        timer(),
        timer(),
        timer(install_id=OTHER_INSTALL),
        timer(tenant_id="tenant-2"),
    )
    await timers.remove_of_installs(connection, "tenant-1", [INSTALL])
    assert set(await stored(connection)) == {other_install.key, other_tenant.key}
    async with another_session(database) as other, connection.transaction():
        await connection.fetch(timers.LOCK_OF_INSTALLS, "tenant-2", [INSTALL])
        assert await unlocked(other, TABLE, "tenant_id") == {"tenant-1"}


async def test_future_timers_are_taken_in_the_order_of_their_keys(
    connection: asyncpg.Connection, database: str
) -> None:
    due, first, second, third = await added(
        connection,
        timer(SLOT, number=1),
        timer(SLOT + MINUTE, number=2),
        timer(SLOT + MINUTE, number=3),
        timer(SLOT + MINUTE, number=1, tenant_id="tenant-2"),
    )
    start = ("", UUID(int=0))
    async with another_session(database) as other, connection.transaction():
        assert await timers.take_future(connection, start, SLOT, 2) == [first, second]
        assert await unlocked(other, TABLE, "tenant_id || schedule_id::text") == {
            f"{each.tenant_id}{each.schedule_id}" for each in (due, third)
        }
        assert await timers.take_future(connection, second.key, SLOT, 9) == [third]
        assert await timers.take_future(connection, first.key, SLOT, 9) == [second, third]
        assert await timers.take_future(connection, third.key, SLOT, 9) == []
        assert await timers.take_future(connection, start, SLOT + MINUTE, 9) == []


async def test_overdue_timers_are_those_of_the_tenant_or_of_one_install(
    connection: asyncpg.Connection, database: str
) -> None:
    now, before, of_other, _later, foreign = await added(
        connection,
        timer(SLOT, number=1),
        timer(SLOT - MINUTE, number=2),
        timer(SLOT, number=3, install_id=OTHER_INSTALL),
        timer(SLOT + MINUTE, number=4),
        timer(SLOT, number=5, tenant_id="tenant-2"),
    )
    assert await timers.overdue(connection, "tenant-1", None, SLOT) == [now, before, of_other]
    assert await timers.overdue(connection, "tenant-1", INSTALL, SLOT) == [now, before]
    async with another_session(database) as other, connection.transaction():
        assert await timers.overdue(connection, "tenant-2", None, SLOT) == [foreign]
        assert foreign.schedule_id not in await unlocked(other, TABLE, "schedule_id")


@pytest.mark.parametrize(
    "change", [{"cron": "0 9 * * *"}, {"timezone": "Asia/Tokyo"}, {"install_id": OTHER_INSTALL}]
)
def test_a_timer_is_the_same_but_for_when_it_is_due(change: dict[str, object]) -> None:
    one = timer()
    assert one.same_but_when(structs.replace(one, due_at=SLOT + MINUTE, missed=7))
    assert not one.same_but_when(structs.replace(one, **change))


async def made_with_schedule(
    connection: asyncpg.Connection, tenant_id: str = "tenant-1"
) -> tuple[Installed, UUID]:
    made = await install(connection, tenant_id=tenant_id, materialised=TICK)
    return made, await schedule_rows.schedule(connection, made)


def state(made: Installed, *, fires: bool = True) -> ScheduleState:
    return ScheduleState(made.install_id, "*/5 * * * *", "UTC", fires)


async def test_the_state_of_the_asked_for_schedules_is_read(
    connection: asyncpg.Connection,
) -> None:
    made, one = await made_with_schedule(connection)
    two = await schedule_rows.schedule(connection, made)
    disabled = await schedule_rows.schedule(connection, made, enabled=False)
    other, foreign = await made_with_schedule(connection, "tenant-2")
    released = await schedule_rows.schedule(connection, made)
    await connection.execute(
        "UPDATE tenant_extension_schedule SET released = true WHERE id = $1", released
    )
    keys = [("tenant-1", id_) for id_ in (one, disabled, released)]
    assert await firing_state.read(connection, []) == {}
    assert await firing_state.read(connection, [("tenant-1", uuid4())]) == {}
    assert await firing_state.read(connection, keys) == {("tenant-1", one): state(made)}
    both = [("tenant-1", two), ("tenant-2", foreign), ("tenant-1", one)]
    assert await firing_state.read(connection, both) == {
        ("tenant-1", one): state(made),
        ("tenant-1", two): state(made),
        ("tenant-2", foreign): state(other),
    }


@pytest.mark.parametrize("change", ["is_enabled = false", "status = 'disabled'"])
async def test_schedules_of_a_disabled_install_do_not_fire(
    connection: asyncpg.Connection, change: str
) -> None:
    made, one = await made_with_schedule(connection)
    other, two = await made_with_schedule(connection)
    await connection.execute(
        f"UPDATE tenant_extension_install SET {change} WHERE id = $1", made.install_id
    )
    assert await firing_state.read(connection, [("tenant-1", one), ("tenant-1", two)]) == {
        ("tenant-1", one): state(made, fires=False),
        ("tenant-1", two): state(other),
    }


async def test_schedules_of_a_paused_tenant_do_not_fire(connection: asyncpg.Connection) -> None:
    made, one = await made_with_schedule(connection)
    other, two = await made_with_schedule(connection, "tenant-2")
    await connection.execute(
        "INSERT INTO ext_scheduler.tenant_pauses VALUES ('tenant-2', now(), 'test')"
    )
    first, second = {("tenant-1", one): state(made)}, {("tenant-2", two): state(other, fires=False)}
    assert await firing_state.read(connection, [*first]) == first
    assert await firing_state.read(connection, [*second]) == second
    assert await firing_state.read(connection, [*first, *second]) == {**first, **second}
