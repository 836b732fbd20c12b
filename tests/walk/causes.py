"""Why a schedule did not run at 02:30: each cause, made in a running system.

What takes a night is moved back in time: the operation is called, then its records are dated.
"""

import signal
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import asyncpg
from msgspec import Struct

from contracts.admin_installs import SetInstallEnabledInput, SetTenantPausedInput
from contracts.admin_schedules import UpdateScheduleInput
from tests.support.browsing import Added, Watched

ZONE = ZoneInfo("Europe/Berlin")
DATED = (
    "UPDATE ext_scheduler.audit SET at = $3 WHERE tenant_id = $1 AND op = $2 AND at > now()"
    " - interval '1 hour'"
)
PAUSED_AT = "UPDATE ext_scheduler.tenant_pauses SET paused_at = $2 WHERE tenant_id = $1"
RUN = """
INSERT INTO ext_scheduler.runs (tenant_id, id, install_id, schedule_id, slot, kind, trigger, status,
  attempts, fence, queued_at, started_at, finished_at, error, retry_at, lease_until, missed, worker)
VALUES ($1, gen_random_uuid(), $2::uuid, $3::uuid, $4, 'scheduled', 'schedule', $5, 1, 1, $4, $4,
  CASE WHEN $5 <> 'running' THEN $4::timestamptz + interval '1 second' END, $6,
  CASE WHEN $5 = 'queued' THEN now() + interval '1 hour' END,
  CASE WHEN $5 = 'running' THEN now() + interval '1 hour' END, $7, 'worker-1')
"""


class Scene(Struct, frozen=True):
    """A schedule for 02:30 that exists for days, the slot asked about, and how to change things."""

    system: Watched
    connection: asyncpg.Connection
    added: Added
    slot: datetime

    async def sql(self, statement: str, *values: object) -> None:
        """Change rows of this tenant; ``$1`` is the tenant where there are values."""
        await self.connection.execute(statement, self.added.tenant_id, *values)

    async def run(self, status: str, error: str | None = None, *, missed: int = 0) -> None:
        """Leave the run of the slot."""
        ids = (self.added.install_id, self.added.schedule_id)
        await self.sql(RUN, *ids, self.slot, status, error, missed)


Make = Callable[[Scene], Awaitable[None]]


class Cause(Struct, frozen=True):
    """Why, in words; the code of the finding that has to name it; and what makes it so."""

    words: str
    code: str
    make: Make
    at: str = "02:30"


async def pause(scene: Scene) -> None:
    """Pause the tenant since an hour before the slot."""
    held = SetTenantPausedInput(scene.added.tenant_id, True, "the invoice is unpaid")
    await scene.system.call("setTenantPaused", held)
    since = scene.slot - timedelta(hours=1)
    await scene.sql(PAUSED_AT, since)
    await scene.sql(DATED, "setTenantPaused", since)


async def pause_for_the_night(scene: Scene) -> None:
    """Pause the tenant an hour before the slot, and resume it an hour after."""
    await pause(scene)
    held = SetTenantPausedInput(scene.added.tenant_id, False)
    await scene.system.call("setTenantPaused", held)
    await scene.sql(DATED, "setTenantPaused", scene.slot + timedelta(hours=1))


def install_off(*, again: bool) -> Make:
    """Return what disables the install before the slot, and perhaps enables it after."""

    async def make(scene: Scene) -> None:
        for enabled, hours in ((False, -1), (True, 1))[: 1 + again]:
            fields = SetInstallEnabledInput(install_id=scene.added.install_id, enabled=enabled)
            await scene.system.call("setInstallEnabled", fields)
            await scene.sql(DATED, "setInstallEnabled", scene.slot + timedelta(hours=hours))

    return make


def schedule_off(*, again: bool) -> Make:
    """Return what disables the schedule before the slot, and perhaps enables it after."""

    async def make(scene: Scene) -> None:
        for enabled, hours in ((False, -1), (True, 1))[: 1 + again]:
            fields = UpdateScheduleInput(
                install_id=scene.added.install_id,
                schedule_id=scene.added.schedule_id,
                enabled=enabled,
            )
            await scene.system.call("updateSchedule", fields)
            await scene.sql(DATED, "updateSchedule", scene.slot + timedelta(hours=hours))

    return make


def ended(status: str, error: str | None = None) -> Make:
    """Return what leaves a run with this status."""

    async def make(scene: Scene) -> None:
        await scene.run(status, error)

    return make


def changed(statement: str) -> Make:
    """Return what changes rows of the tenant."""

    async def make(scene: Scene) -> None:
        await scene.sql(statement)

    return make


async def stop_worker(scene: Scene) -> None:
    """Freeze the worker, and let the timer be overdue."""
    programs = {started.program.name: started for started in scene.system.stack.programs}
    programs["worker"].process.send_signal(signal.SIGSTOP)  # the end of the walk lets it go on
    await scene.connection.execute(
        "UPDATE ext_scheduler.workers SET seen_at = seen_at - interval '1 hour'"
    )
    await scene.sql("UPDATE ext_scheduler.timers SET due_at = $2 WHERE tenant_id = $1", scene.slot)


CAUSES = (
    Cause("the tenant is paused", "tenant_paused", pause),
    Cause("the tenant was paused that night", "slot_during_pause", pause_for_the_night),
    Cause("the install is disabled", "install_disabled", install_off(again=False)),
    Cause(
        "the install was disabled that night",
        "slot_during_install_disabled",
        install_off(again=True),
    ),
    Cause("the schedule is disabled", "schedule_disabled", schedule_off(again=False)),
    Cause(
        "the schedule was disabled that night",
        "slot_during_schedule_disabled",
        schedule_off(again=True),
    ),
    Cause("the extension failed", "slot_failed", ended("error", "status 500 from the extension")),
    Cause("the run before had not ended", "slot_skipped", ended("skipped_overlap")),
    Cause("it still runs", "slot_in_progress", ended("running")),
    Cause("it waits for its retry", "retry_waiting", ended("queued", "status 503")),
    Cause("no Runner was there", "runner_away", ended("queued", "No Runner is listening")),
    Cause(
        "no worker was there, and a later slot came",
        "slot_missed",
        changed("UPDATE ext_scheduler.timers SET missed = 1 WHERE tenant_id = $1"),
    ),
    Cause(
        "the schedule is younger",
        "slot_before_schedule",
        changed("UPDATE tenant_extension_schedule SET created_at = now() WHERE tenant_id = $1"),
    ),
    Cause("the clock went forward", "slot_skipped_by_clock", changed("SELECT $1::text"), "spring"),
    Cause(
        "a capability was taken away",
        "capability_missing",
        changed("UPDATE tenant_extension_install SET granted_caps = '[]' WHERE tenant_id = $1"),
    ),
    Cause(
        "another job runner drives it",
        "driven_by_other",
        changed(
            "UPDATE tenant_extension_schedule SET runner_schedule_id = 'temporal:x'"
            " WHERE tenant_id = $1"
        ),
    ),
    Cause(
        "its timer is gone",
        "timer_missing",
        changed("DELETE FROM ext_scheduler.timers WHERE tenant_id = $1"),
    ),
    Cause(
        "its timer is of another expression",
        "timer_differs",
        changed("UPDATE ext_scheduler.timers SET cron = '0 4 * * *' WHERE tenant_id = $1"),
    ),
    Cause("nothing is on record", "slot_unaccounted", changed("SELECT $1::text")),
    Cause("no worker is up", "no_worker_up", stop_worker),
)
"""The last one stops what all others need."""


def last_slot(now: datetime) -> datetime:
    """Return when it was 02:30 last."""
    today = now.astimezone(ZONE).replace(hour=2, minute=30, second=0, microsecond=0)
    return (today if today <= now else today - timedelta(days=1)).astimezone(UTC)


def moment(cause: Cause, now: datetime) -> str:
    """Return what a person asks about: 02:30, or a 02:30 that the clock left out."""
    if cause.at != "spring":
        return cause.at
    year = now.year if now.month > 3 else now.year - 1
    last = datetime(year, 3, 31, tzinfo=UTC)
    sunday = last - timedelta(days=(last.weekday() + 1) % 7)
    return f"{sunday:%Y-%m-%d} 02:30"
