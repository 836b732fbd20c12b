"""The account of the past hour, which one of the workers makes every hour."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from logging import ERROR, INFO, getLogger
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
from msgspec import Struct

from service.runtime.logs import fields
from service.storage import accounting, consistency
from service.storage.accounting import ScheduleAccount, Window
from service.storage.engine import clock
from service.storage.engine.acquire import acquired, index_only_transaction
from service.storage.engine.advisory_lock import try_lock
from service.storage.engine.connection import Connection

log = getLogger(__name__)

METADATA_KEY = "slot_audit"
LOCK_KEY = 0x657874_534C4F54
HOUR = timedelta(hours=1)
MIN_WINDOW, MAX_WINDOW = timedelta(minutes=55), timedelta(days=1)
"""How much is accounted for at once. After a longer outage, what lies before is left to people."""
PAGE_SCHEDULES = 2_000
MAX_LOGGED = 20


class SlotAudit(Struct, frozen=True):
    """The result of the latest account: the end of its window, and what it found."""

    until: datetime
    schedules: int
    slots: int
    unaccounted: int


async def latest(connection: Connection) -> SlotAudit | None:
    """Return the result of the latest account, of whichever worker."""
    text = await consistency.metadata_value(connection, METADATA_KEY)
    return None if text is None else msgspec.json.decode(text, type=SlotAudit)


async def run(
    pool: asyncpg.Pool, clock_: clock.Clock, spread: timedelta = timedelta(0)
) -> SlotAudit | None:
    """Account for the time since the latest account, if that is an hour, or nearly so.

    Slots whose starts may be to come, as ``spread`` allows, are left to the next account. Returns
    None where it is not, or another worker is doing it.
    """
    async with acquired(pool) as guard, guard.transaction():
        if not await try_lock(guard, LOCK_KEY):
            return None
        # On another connection, page by page: no snapshot is held for long.
        async with acquired(pool) as connection:
            now = await clock_(connection)
            until = now.replace(second=0, microsecond=0) - accounting.SETTLED_AFTER - spread
            last = await latest(connection)
            after = until - HOUR if last is None else max(last.until, until - MAX_WINDOW)
            if until - after < MIN_WINDOW:
                return None
            audit = await _account(connection, Window(after, until))
            value = msgspec.json.encode(audit).decode()
            await consistency.set_metadata_value(connection, METADATA_KEY, value)
    log.log(
        ERROR if audit.unaccounted else INFO,
        "slots accounted for",
        extra=fields(schedules=audit.schedules, slots=audit.slots, unaccounted=audit.unaccounted),
    )
    return audit


async def _account(connection: Connection, window: Window) -> SlotAudit:
    schedules = slots = unaccounted = reported = 0
    async for accounts in _pages(connection, window):
        schedules += len(accounts)
        slots += sum(account.counts.slots for account in accounts)
        for account in accounts:
            if not account.counts.unaccounted:
                continue
            unaccounted += len(account.counts.unaccounted)
            reported += 1
            if reported <= MAX_LOGGED:
                _report(account)
    return SlotAudit(window.until, schedules, slots, unaccounted)


async def _pages(
    connection: Connection, window: Window
) -> AsyncIterator[Sequence[ScheduleAccount]]:
    """Yield the accounts of all schedules, then of those that were deleted, page by page."""
    for account_page, first in (
        (accounting.schedules, ("", UUID(int=0))),
        (accounting.deleted_schedules, (window.after, UUID(int=0))),
    ):
        key: Any = first  # each goes on from a key of its own kind
        while key is not None:
            async with index_only_transaction(connection):
                page = await account_page(connection, window, None, key, PAGE_SCHEDULES)
            yield page.accounts
            key = page.last


def _report(account: ScheduleAccount) -> None:
    log.error(
        "slot unaccounted for",
        extra=fields(
            tenant=account.tenant_id,
            schedule=account.schedule_id,
            slot=account.counts.unaccounted[0],
            unaccounted=len(account.counts.unaccounted),
        ),
    )
