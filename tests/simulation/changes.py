"""Changes as callers make them, through the real operations, and what the oracle makes of them."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any
from uuid import UUID

from tests.simulation.oracle import Expectation
from tests.simulation.simulation import Simulation
from tests.simulation.violations import ViolationKind
from tests.simulation.zone_releases import ZONES
from tests.support.admin import manifest

OFTEN = ("*/5 * * * *", "*/10 * * * *", "2-59/5 * * * *", "*/15 * * * *")
HOURLY = ("0 * * * *", "30 * * * *", "17 * * * *", "45 */2 * * *", "0,30 8-18 * * 1-5")
SELDOM = (
    "30 1 * * *",
    "30 2 * * *",
    "0 2 * * *",
    "*/30 1-2 * * *",
    "0 3 * * 0",
    "15 0,12 * * *",
    "59 23 * * *",
    "0 0 1 * *",
    "5,35 0-3 * * *",
)
FIRST, SECOND = "1.0.0", "2.0.0"
PATHS = {FIRST: ("/a", "/b"), SECOND: ("/a",)}
Ids = dict[str, UUID]


class Population:
    """The tenants, their installs and schedules, and how they are changed."""

    def __init__(self, world: Simulation, tenants: int) -> None:
        self.world = world
        self.random = world.random
        self.tenants = [f"tenant-{number}" for number in range(1, tenants + 1)]
        self.installs: Ids = {}
        self.versions: dict[str, str] = {}
        self.zones = self.random.sample(ZONES, 5)
        self.crons = [self.random.sample(kind, 3) for kind in (OFTEN, HOURLY, SELDOM)]
        """A few of each in a world: every minute is walked for every pair of them."""

    async def install(self) -> None:
        """Register both versions; install the first one for each tenant."""
        for tenant, version in [("tenant-0", SECOND)] + [(each, FIRST) for each in self.tenants]:
            answer = await self.world.admin(
                "registerInstall",
                tenantId=tenant,
                manifest=manifest(version, *PATHS[version]),
                contentHash=f"sha256:{version}",
                grants=["cap:scheduler.manage"],
            )
            assert answer["success"], answer
            self.installs[tenant] = UUID(answer["installId"])
            self.versions[tenant] = version

    async def change(self) -> None:
        """Make one change at random."""
        changes: dict[Callable[[], Awaitable[None]], int] = {
            self.create: 3,
            self.update_timing: 4,
            self.switch: 5,
            self.delete: 2,
            self.run_now: 6,
            self.pause_tenant: 2,
            self.switch_install: 2,
            self.flip_version: 2,
        }
        [chosen] = self.random.choices(list(changes), list(changes.values()))
        await chosen()
        self.world.tally.counts[f"change: {chosen.__name__}"] += 1

    async def create(self) -> None:
        """Create a schedule."""
        tenant = self.random.choice(self.tenants)
        cron, zone = self._timing()
        path = self.random.choice(PATHS[self.versions[tenant]])
        enabled = self.random.random() < 0.95
        answer = await self._ask(
            "createSchedule",
            installId=str(self.installs[tenant]),
            endpoint=f"POST {path}",
            cron=cron,
            timezone=zone,
            enabled=enabled,
        )
        if answer is not None:
            self.world.oracle.schedules[UUID(answer["scheduleId"])] = Expectation(
                number=len(self.world.oracle.schedules),
                tenant_id=tenant,
                install_id=self.installs[tenant],
                cron=cron,
                timezone=zone,
                path=path,
                walked=self.now,
                enabled=enabled,
            )

    async def update_timing(self) -> None:
        """Give a schedule another expression, zone or both; or the same ones once more."""
        id_, schedule = self._any()
        if schedule is None:
            return
        cron, zone = self._timing()
        body: dict[str, Any] = {"cron": cron, "timezone": zone}
        for name in self.random.choice(((), ("cron",), ("timezone",), ("cron", "timezone"))):
            body[name] = getattr(schedule, name)
        self.doubt([schedule])
        if await self._update(id_, schedule, **body) is not None and schedule.enabled:
            same = (body["cron"], body["timezone"]) == (schedule.cron, schedule.timezone)
            if not same or schedule.walked > self.now:
                schedule.restart(self.now)
            schedule.cron, schedule.timezone = body["cron"], body["timezone"]
        elif not schedule.enabled:
            schedule.cron, schedule.timezone = body["cron"], body["timezone"]

    async def switch(self) -> None:
        """Enable or disable a schedule."""
        id_, schedule = self._any(prefer_disabled=True)
        if schedule is None:
            return
        enabled = not schedule.enabled
        missing = schedule.path not in PATHS[self.versions[schedule.tenant_id]]
        self.doubt([schedule])
        answer = await self._update(id_, schedule, refused=enabled and missing, enabled=enabled)
        if answer is not None:
            schedule.restart(self.now)
            schedule.enabled, schedule.marked = enabled, False

    async def delete(self) -> None:
        """Delete a schedule."""
        id_, schedule = self._any()
        if schedule is None:
            return
        self.doubt([schedule])
        install = str(schedule.install_id)
        if await self._ask("deleteSchedule", installId=install, scheduleId=str(id_)) is not None:
            schedule.restart(self.now)
            schedule.deleted = True

    async def run_now(self) -> None:
        """Run a schedule by hand, more often than not one that is fired at the same time."""
        id_, schedule = self._any()
        if schedule is None:
            return
        disabled = schedule.install_id in self.world.oracle.disabled
        answer = await self._ask("runNow", refused=disabled, scheduleId=str(id_))
        if answer is not None:
            self.world.manual[UUID(answer["runId"])] = id_

    async def pause_tenant(self) -> None:
        """Pause a tenant, or resume one that is paused."""
        oracle = self.world.oracle
        tenant = self.random.choice([*self.tenants, *2 * sorted(oracle.paused)])
        paused = tenant not in oracle.paused
        of = [each for each in oracle.schedules.values() if each.tenant_id == tenant]
        self.doubt(of)
        if await self._ask("setTenantPaused", tenantId=tenant, paused=paused) is None:
            return
        if paused:
            oracle.paused.add(tenant)
        else:
            oracle.paused.discard(tenant)
            self._resume(of)

    async def switch_install(self) -> None:
        """Disable an install, or enable one that is disabled."""
        oracle = self.world.oracle
        installs = [self.installs[tenant] for tenant in self.tenants]
        disabled = [install for install in installs if install in oracle.disabled]
        install = self.random.choice([*installs, *disabled, *disabled])
        enabled = install in oracle.disabled
        of = [each for each in oracle.schedules.values() if each.install_id == install]
        self.doubt(of)
        id_ = str(install)
        if await self._ask("setInstallEnabled", installId=id_, enabled=enabled) is None:
            return
        if enabled:
            oracle.disabled.discard(install)
            self._resume(of)
        else:
            oracle.disabled.add(install)

    async def flip_version(self) -> None:
        """Move an install to the other version, which lacks one of the endpoints, or back."""
        tenant = self.random.choice(self.tenants)
        version = SECOND if self.versions[tenant] == FIRST else FIRST
        oracle, install = self.world.oracle, self.installs[tenant]
        of = [
            each
            for each in oracle.schedules.values()
            if each.install_id == install and not each.deleted
        ]
        self.doubt(of)
        answer = await self._ask(
            "updateInstall",
            installId=str(install),
            version=version,
            disableMissingSchedules=True,
        )
        if answer is None:
            return
        self.versions[tenant] = version
        for schedule in of:
            missing = schedule.path not in PATHS[version]
            if schedule.enabled and missing:
                schedule.restart(self.now)
                schedule.enabled, schedule.marked = False, True
            elif schedule.marked and not missing:
                schedule.restart(self.now)
                schedule.enabled, schedule.marked = True, False

    @property
    def now(self) -> datetime:
        """Return the database's time."""
        return self.world.clock.now

    def doubt(self, schedules: list[Expectation]) -> None:
        """Take what is due of these schedules, and not yet planned, for undecided."""
        for schedule in schedules:
            self.world.oracle.doubt(schedule, self.now)

    def _resume(self, schedules: list[Expectation]) -> None:
        for schedule in schedules:
            schedule.walked = min(schedule.walked, self.now)

    def _timing(self) -> tuple[str, str]:
        kind = self.random.choices(self.crons, (6, 3, 3))[0]
        return self.random.choice(kind), self.random.choice(self.zones)

    def _any(self, *, prefer_disabled: bool = False) -> tuple[UUID, Expectation | None]:
        there = [(id_, s) for id_, s in self.world.oracle.schedules.items() if not s.deleted]
        disabled = [(id_, s) for id_, s in there if not s.enabled]
        if prefer_disabled and disabled and self.random.random() < 0.6:
            return self.random.choice(disabled)
        return self.random.choice(there) if there else (UUID(int=0), None)

    async def _update(
        self, id_: UUID, schedule: Expectation, *, refused: bool = False, **body: Any
    ) -> dict[str, Any] | None:
        ids = {"installId": str(schedule.install_id), "scheduleId": str(id_)}
        return await self._ask("updateSchedule", refused=refused, **ids, **body)

    async def _ask(self, op: str, *, refused: bool = False, **body: Any) -> dict[str, Any] | None:
        """Ask, and return the answer to what was done; None where it was refused."""
        answer = await self.world.admin(op, **body)
        done = bool(answer.get("success"))
        if done == refused:
            self.world.tally.found(ViolationKind.REFUSED, f"{op} {body}: {answer}")
        # What was claimed before it was done may still be called: nothing stops to fire earlier.
        await self.world.hold_claimed()
        self.world.note(f"{op} {body} {'' if done else answer}")
        return answer if done else None
