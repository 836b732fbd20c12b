"""Clients that create, change and delete schedules all the time, and record the responses."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

from msgspec import Struct, structs

from contracts.errors import Code, ServiceError
from contracts.schedules import CreateInput, CreateOutput, DeleteInput, UpdateInput
from runner_bridge.client import SchedulerHost
from tests.drill.history import Change, Refusal, Row

ZONES = ("UTC", "Europe/Berlin", "Asia/Kolkata", "America/St_Johns", "Asia/Kathmandu")
CRONS = (
    *(["* * * * *"] * 6),
    "0-59 * * * *",
    "*/2 * * * *",
    "1-59/2 * * * *",
    "*/3 * * * *",
    "0,10,20,30,40,50 * * * *",
    "*/5 * * * 0-6",
)
OWNERS = 6
CHANGED_EVERY_S = 150.0
"""How long a schedule is left alone, on average: a slot or two lie undisputed in between."""
OFTEN_S = 40.0
"""Likewise, where changes are to come between the planning of a run and its call."""
SEEDERS = 24
ChangeOutput = CreateOutput | Struct


class Owned(Struct):
    """A schedule as its owner knows it; ``install`` is the number of its host."""

    id: str
    install: int
    row: Row


class Workload:
    """Several clients at once. A schedule is changed by one of them at a time."""

    def __init__(
        self,
        hosts: list[SchedulerHost],
        chance: random.Random,
        changed_every_s: float = CHANGED_EVERY_S,
    ) -> None:
        self.changes: list[Change] = []
        self.refusals: list[Refusal] = []
        self._hosts = hosts
        self._chance = chance
        self._changed_every_s = changed_every_s
        self._free: list[Owned] = []
        self._made = 0

    async def seed(self, count: int) -> None:
        """Create that many schedules."""
        left = iter(range(count))

        async def work() -> None:
            for _ in left:
                await self._create()

        await asyncio.gather(*(work() for _ in range(SEEDERS)))

    async def go_on(self, stopping: asyncio.Event) -> None:
        """Make changes until stopped; a change that has begun is completed."""

        pause_s = OWNERS * self._changed_every_s / len(self._free)

        async def work() -> None:
            while not stopping.is_set():
                await asyncio.sleep(self._chance.uniform(0.0, 2 * pause_s))
                await self._change_something()

        await asyncio.gather(*(work() for _ in range(OWNERS)))

    async def _change_something(self) -> None:
        draw = self._chance.random()
        if draw < 0.2 or not self._free:
            await self._create()
            return
        at = self._chance.randrange(len(self._free))
        self._free[at], self._free[-1] = self._free[-1], self._free[at]
        owned = self._free.pop()
        if draw < 0.4:
            await self._delete(owned)
        else:
            await self._update(owned)

    def _row(self) -> Row:
        self._made += 1
        return Row(
            cron=self._cron(zone := self._chance.choice(ZONES)),
            timezone=zone,
            enabled=self._chance.random() < 0.95,
            name=f"schedule {self._made}",
            payload={"number": self._made},
        )

    def _cron(self, zone: str) -> str:
        """Return an expression that is due soon; one in ten names one minute of the day."""
        if self._chance.random() < 0.1:
            soon = datetime.now(UTC) + timedelta(minutes=self._chance.uniform(0.5, 6))
            return f"{soon.astimezone(ZoneInfo(zone)):%-M %-H} * * *"
        return self._chance.choice(CRONS)

    async def _create(self) -> None:
        number, row = self._chance.randrange(len(self._hosts)), self._row()
        request = CreateInput(
            endpoint="/api/heartbeat",
            cron=row.cron,
            timezone=row.timezone,
            enabled=row.enabled,
            name=row.name,
            payload=row.payload,
        )
        asked = time.time()
        answer = await self._answered(lambda jti: self._hosts[number].create(request, jti=jti))
        if isinstance(answer, CreateOutput) and answer.schedule_id:
            self._note(Owned(answer.schedule_id, number, row), asked, row)

    async def _update(self, owned: Owned) -> None:
        host, row = self._hosts[owned.install], owned.row
        draw = self._chance.random()
        if draw < 0.4:
            zone = self._chance.choice(ZONES)
            row = structs.replace(row, cron=self._cron(zone), timezone=zone)
            request = UpdateInput(schedule_id=owned.id, cron=row.cron, timezone=zone)
        elif draw < 0.7:
            row = structs.replace(row, enabled=not row.enabled)
            request = UpdateInput(schedule_id=owned.id, enabled=row.enabled)
        else:
            self._made += 1
            row = structs.replace(row, payload={"number": self._made, "changed": True})
            request = UpdateInput(schedule_id=owned.id, payload=row.payload)
        asked = time.time()
        if await self._answered(lambda jti: host.update(request, jti=jti)):
            self._note(owned, asked, row)

    async def _delete(self, owned: Owned) -> None:
        host, request = self._hosts[owned.install], DeleteInput(owned.id)
        asked = time.time()
        if await self._answered(lambda jti: host.delete(request, jti=jti)):
            self._note(owned, asked, None)

    async def _answered(
        self, ask: Callable[[UUID], Awaitable[ChangeOutput]]
    ) -> ChangeOutput | None:
        """Ask until there is an answer, always with the same jti; None where it was a refusal."""
        jti = uuid4()
        while True:
            try:
                answer = await ask(jti)
            except ServiceError as error:
                if error.code is Code.UNAVAILABLE:
                    continue
                self.refusals.append(Refusal(time.time(), f"{error.code.value} {error.message}"))
                return None
            if not getattr(answer, "success", False):
                self.refusals.append(Refusal(time.time(), str(answer)))
                return None
            return answer

    def _note(self, owned: Owned, asked: float, row: Row | None) -> None:
        self.changes.append(
            Change(schedule_id=owned.id, asked=asked, answered=time.time(), row=row)
        )
        if row is not None:
            self._free.append(Owned(owned.id, owned.install, row))
