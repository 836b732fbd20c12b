"""The admin operation that accounts for the slots of schedules."""

from typing import Annotated

from msgspec import Meta, Struct, field

from contracts.inputs import Cursor, Limit, TenantId

AccountLimit = Annotated[Limit, Meta(description="Schedules of a page; fewer in a long window")]


class AccountInput(Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """The window (``from``, ``to``], at most 31 days; by default the latest hour that is planned.

    A ``cursor`` keeps the window of its first page.
    """

    tenant_id: TenantId | None = None
    from_: str | None = field(default=None, name="from")
    to: str | None = None
    limit: AccountLimit | None = None
    cursor: Cursor | None = None


class ScheduleSlots(Struct, frozen=True, rename="camel", kw_only=True):
    """What became of the slots of a schedule; ``fired`` to ``unaccounted`` add up to ``slots``.

    ``skipped`` counts slots by the reason of their run, ``swallowed`` by what kept them from
    firing: ``tenant_paused``, ``install_disabled`` or ``schedule_disabled``. ``superseded`` slots
    had not been planned when the schedule was changed, ``waiting`` ones are due and about to be
    planned. ``unaccountedSlots`` are the first 20 that nothing on record explains. ``absent`` slots
    did not exist, because the schedule was ``created``, ``updated`` or ``deleted`` within the
    window, or was ``driven_by_other``. ``deletedAt`` is null where the schedule exists.
    """

    schedule_id: str
    tenant_id: str
    install_id: str
    name: str | None
    cron: str
    timezone: str
    deleted_at: str | None
    slots: int
    fired: int
    missed: int
    skipped: dict[str, int]
    swallowed: dict[str, int]
    superseded: int
    waiting: int
    unaccounted: int
    unaccounted_slots: list[str]
    absent: dict[str, int]


class AccountOutput(Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """A page, by tenant and id; after the existing schedules those that were deleted meanwhile."""

    from_: str = field(name="from")
    to: str
    schedules: list[ScheduleSlots]
    next_cursor: str | None = None
