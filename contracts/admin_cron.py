"""The admin operation that previews the slots of an expression."""

from msgspec import Struct, field

from contracts.inputs import PreviewCount


class PreviewCronInput(Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """``from`` is RFC 3339, default now; ``count`` is at most 50."""

    cron: str
    timezone: str | None = None
    count: PreviewCount | None = None
    from_: str | None = field(default=None, name="from")


class CronSlot(Struct, frozen=True, rename="camel", kw_only=True):
    """A slot in UTC and, with its offset, on the wall clock of the zone (both RFC 3339).

    ``remark`` is set where the clock changed since the slot before, or will show this time again.
    """

    utc: str
    local: str
    remark: str | None


class PreviewCronOutput(Struct, frozen=True, rename="camel"):
    """Slots in order, RFC 3339; ``words`` is the expression in English, ``details`` the same slots
    for people.
    """

    slots: list[str]
    words: str = ""
    details: list[CronSlot] = field(default_factory=list)
