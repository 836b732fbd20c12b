"""Beginning and ending attempts, many at a time, each on its own fence."""

import asyncio
import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from logging import getLogger
from time import monotonic

import asyncpg
from msgspec import Struct

from service.rules.outcomes import Outcome, retry_at
from service.storage.engine import clock
from service.storage.engine.acquire import acquired, by_keys
from service.storage.engine.connection import Connection
from service.storage.engine.errors import is_unavailable
from service.storage.runs import attempts, invocations, results, retry_bounds
from service.storage.runs.attempts import Claimed, Ended, Run, Wanted, Wish
from service.storage.runs.invocations import Invocation
from service.storage.runs.queue import Ticket
from service.worker.firing.settings import FiringSettings

log = getLogger(__name__)

WORKER_LOST = "worker lost"
SOON = timedelta(seconds=1)
SHORTLY = timedelta(milliseconds=50)
PAUSES_S = (0.1, 0.2, 0.5, 1.0, 2.0, 2.0, 4.0, 4.0)


class Begun(Struct, frozen=True):
    """An attempt of this worker. ``lost`` says why the run can only end; else it may be called.

    ``now`` is the database's time when it began, ``since`` the monotonic seconds of that moment.
    """

    run: Run
    holding: bool
    found: Invocation | None
    lost: str | None
    now: datetime
    since: float


class Later(Struct, frozen=True):
    """Not now: the job goes back for a while."""

    delay: timedelta


class Nothing(Struct, frozen=True):
    """There is nothing to do: the run has ended, or is gone."""


class Finished(Struct, frozen=True, kw_only=True):
    """What an attempt came to. ``outcome`` is None for a run that was skipped with ``status``."""

    begun: Begun
    outcome: Outcome | None = None
    status: str = "error"
    duration_ms: int | None = None
    disable: bool = False
    request_id: str | None = None


class Settled(Struct, frozen=True):
    """How it was written: None where the fence was another's and nothing was written."""

    ended: Ended | None
    delay: timedelta | None = None


def admit(run: Run, now: datetime, settings: FiringSettings) -> Later | Nothing | tuple[Wish, str]:
    """What may be done with a run record: claim it (and why it can only end), wait, or nothing."""
    if run.status not in {"queued", "running"}:
        return Nothing()
    if run.lease_until is not None and run.lease_until > now:
        return Later(run.lease_until - now + SHORTLY)
    if run.retry_at is not None and run.retry_at > now + SOON:
        return Later(run.retry_at - now)
    overdue = run.next_slot is not None and run.next_slot <= now
    used_up = run.attempts >= settings.retries.max_attempts
    if run.attempts > 0 and (overdue or used_up):
        # A retry ends with what its last attempt said; one whose worker died has nothing to say.
        why = run.error if run.status == "queued" else None
        return Wish(run, begins=False), why or WORKER_LOST
    return Wish(run), ""


class Ledger:
    """The two batched steps of an attempt, over a pool, by the database's clock."""

    def __init__(self, pool: asyncpg.Pool, settings: FiringSettings, now: clock.Clock) -> None:
        self._pool = pool
        self._settings = settings
        self._now = now
        self._random = random.Random()  # noqa: S311 - jitter needs no secrecy

    async def begin(self, tickets: Sequence[Ticket]) -> list[Begun | Later | Nothing]:
        """Claim what may be claimed, and load what its calls need."""
        async with acquired(self._pool, self._settings.acquire_timeout_s) as connection:
            now, since = await self._now(connection), monotonic()
            async with by_keys(connection):
                seen = await attempts.see(
                    connection, [Wanted(t.tenant_id, t.run_id, t.slot) for t in tickets]
                )
                again = [run for run in seen.values() if run.attempts > 0]
                seen |= await retry_bounds.current(connection, again)
                admitted = {key: admit(run, now, self._settings) for key, run in seen.items()}
                wishes = {key: a for key, a in admitted.items() if isinstance(a, tuple)}
                claimed = await attempts.claim(
                    connection,
                    [wish for wish, _ in wishes.values()],
                    worker=self._settings.worker,
                    now=now,
                    lease_until=now + self._settings.lease,
                )
                found = await self._load(connection, list(claimed.values()))
        answers: list[Begun | Later | Nothing] = []
        for ticket in tickets:
            key = (ticket.tenant_id, ticket.run_id)
            entry, mine = admitted.get(key, Nothing()), claimed.get(key)
            if not isinstance(entry, tuple):
                answers.append(entry)
            elif mine is None:
                answers.append(Later(SOON))  # somebody else was faster; see what comes of it
            else:
                lost = entry[1] or None
                answers.append(Begun(mine.run, mine.holding, found[key], lost, now, since))
        return answers

    async def _load(
        self, connection: Connection, claimed: Sequence[Claimed]
    ) -> dict[attempts.Key, Invocation]:
        if not claimed:
            return {}
        runs = [each.run for each in claimed]
        found = await invocations.load(connection, [(r.tenant_id, r.schedule_id) for r in runs])
        return {run.key: invocation for run, invocation in zip(runs, found, strict=True)}

    async def end(self, finished: Sequence[Finished]) -> list[Settled]:
        """Write how attempts ended; tried again for a while when the database is away."""
        for pause in (*PAUSES_S, None):
            try:
                return await self._end(finished)
            except Exception as error:
                if pause is None or not is_unavailable(error):
                    raise
                log.warning("endings not written yet: %r", error)
                await asyncio.sleep(pause)
        raise AssertionError  # the last round returns or raises

    async def _end(self, finished: Sequence[Finished]) -> list[Settled]:
        async with acquired(self._pool, self._settings.acquire_timeout_s) as connection:
            now = await self._now(connection)
            async with by_keys(connection):
                failed = [each.begun.run for each in finished if _may_be_retried(each)]
                bounds = await retry_bounds.current(connection, failed)
                endings_ = [self._ending(each, now, bounds) for each in finished]
                if not self._settings.sharded:
                    await results.lock_schedules(connection, endings_)
                written = await attempts.end(connection, endings_)
                await results.record(
                    connection, [each for each in endings_ if each.run.key in written], now
                )
        return [
            Settled(each, None if each.retry_at is None else each.retry_at - now)
            if each.run.key in written
            else Settled(None)
            for each in endings_
        ]

    def _ending(self, finished: Finished, now: datetime, bounds: dict[attempts.Key, Run]) -> Ended:
        run, outcome = finished.begun.run, finished.outcome
        if outcome is None:
            return Ended(run=run, status=finished.status, finished_at=now)
        again = None
        if _may_be_retried(finished):
            chance, next_slot = self._random.random(), bounds[run.key].next_slot
            again = retry_at(run.attempts, now, next_slot, self._settings.retries, chance)
        status = "success" if outcome.error is None else "error" if again is None else "queued"
        return Ended(
            run=run,
            status=status,
            finished_at=None if again else now,
            retry_at=again,
            held_until=again and again + self._settings.lease,
            duration_ms=finished.duration_ms,
            http_status=outcome.http_status,
            error=outcome.error,
            recorded=again is None,
            disable=finished.disable,
        )


def _may_be_retried(finished: Finished) -> bool:
    outcome = finished.outcome
    return outcome is not None and outcome.error is not None and not outcome.final
