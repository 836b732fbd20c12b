"""``account``: what became of every slot of the schedules in a window of time."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from msgspec import Struct

from contracts import admin_account as contract
from contracts.times import Instant, wire_time
from service.operations.admin.pages import cursor_errors, read_cursor, read_instant, time_errors
from service.operations.admin.transaction import resolve_tenant
from service.operations.context import Answer, Call, field_refusal
from service.rules import admin_fields, cursors
from service.storage import accounting
from service.storage.accounting import AccountedPage, ScheduleAccount, Window
from service.storage.engine import clock

HOUR = timedelta(hours=1)
MAX_WINDOW = timedelta(days=31)
SCHEDULE_HOURS = 4_800
"""Schedules of a page times the hours of its window, at most: each hour has up to sixty slots."""
DEFAULT_LIMIT = 50
MAX_SLOTS_SHOWN = 20
EMPTY_WINDOW, LONG_WINDOW = "Must be later than from", "Must be within 31 days of from"


class AccountPosition(Struct, frozen=True, array_like=True):
    """Where a page begins: its window, whether it is of deleted schedules, and what precedes it.

    ``key`` is the tenant of the last schedule, or the time of the last deletion.
    """

    after: Instant
    until: Instant
    deleted: bool = False
    key: str = ""
    id: UUID = UUID(int=0)


async def account(call: Call, request: contract.AccountInput) -> Answer:
    """Answer a page of accounts."""
    tenant_id = resolve_tenant(call, request.tenant_id)
    now = call.policy.clock(await clock.read(call.connection))
    position = read_cursor(request.cursor, AccountPosition) or AccountPosition(
        *_window(request, now)
    )
    length = position.until - position.after
    if length <= timedelta(0) or length > MAX_WINDOW:
        text = EMPTY_WINDOW if length <= timedelta(0) else LONG_WINDOW
        return field_refusal({"to": text})
    limit = min(request.limit or DEFAULT_LIMIT, max(1, int(SCHEDULE_HOURS * HOUR / length)))
    window = Window(position.after, position.until)
    page = await _page(call, window, tenant_id, position, limit)
    return contract.AccountOutput(
        from_=wire_time(position.after),
        to=wire_time(position.until),
        schedules=[_shown(each) for each in page.accounts],
        next_cursor=_next_cursor(position, page),
    )


def _window(request: contract.AccountInput, now: datetime) -> tuple[datetime, datetime]:
    to, from_ = read_instant(request.to), read_instant(request.from_)
    until = min(to or now - accounting.SETTLED_AFTER, now)
    return from_ or until - HOUR, until


async def _page(
    call: Call, window: Window, tenant_id: str | None, position: AccountPosition, limit: int
) -> AccountedPage:
    if not position.deleted:
        after = (position.key, position.id)
        return await accounting.schedules(call.connection, window, tenant_id, after, limit)
    at = datetime.fromisoformat(position.key) if position.key else window.after
    after_deletion = (at, position.id)
    return await accounting.deleted_schedules(
        call.connection, window, tenant_id, after_deletion, limit
    )


def _next_cursor(position: AccountPosition, page: AccountedPage) -> str | None:
    if page.last is None:
        first = (True, "", UUID(int=0))
        return None if position.deleted else cursors.write(position.after, position.until, *first)
    key, id_ = page.last
    text = key if isinstance(key, str) else key.astimezone(UTC).isoformat()
    return cursors.write(position.after, position.until, position.deleted, text, id_)


def _shown(account: ScheduleAccount) -> contract.ScheduleSlots:
    counts = account.counts
    return contract.ScheduleSlots(
        schedule_id=str(account.schedule_id),
        tenant_id=account.tenant_id,
        install_id=str(account.install_id),
        name=account.name,
        cron=account.cron,
        timezone=account.timezone,
        deleted_at=None if account.deleted_at is None else wire_time(account.deleted_at),
        slots=counts.slots,
        fired=counts.fired,
        missed=counts.missed,
        skipped=dict(counts.skipped),
        swallowed=_plain(counts.swallowed),
        superseded=counts.superseded,
        waiting=counts.waiting,
        unaccounted=len(counts.unaccounted),
        unaccounted_slots=_times(counts.unaccounted[:MAX_SLOTS_SHOWN]),
        absent=_plain(counts.absent),
    )


def _plain(counts: Mapping[Any, int]) -> dict[str, int]:
    return {name: count for name, count in counts.items() if count}


def _times(slots: Sequence[datetime]) -> list[str]:
    return [wire_time(slot) for slot in slots]


def account_errors(_: Call, values: Mapping[str, Any]) -> Mapping[str, str]:
    """Return the errors of ``account`` that its field types do not cover."""
    errors = {**time_errors(values, "from", "to"), **cursor_errors(values, AccountPosition)}
    position = None if errors else read_cursor(values.get("cursor"), AccountPosition)
    if position is not None and position.deleted and position.key:
        try:
            datetime.fromisoformat(position.key).astimezone(UTC)
        except (ValueError, OverflowError):
            errors["cursor"] = admin_fields.invalid("cursor")
    return errors
