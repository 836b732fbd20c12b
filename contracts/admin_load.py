"""Admin operations that answer which minutes of the coming week are crowded, and by whom."""

from msgspec import Struct

from contracts.inputs import Limit, TenantId

WEEK_MINUTES = 7 * 24 * 60


class LoadMinuteInput(Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """A minute of the coming week, as an RFC 3339 instant."""

    minute: str
    tenant_id: TenantId | None = None
    limit: Limit | None = None


class TenantLoad(Struct, frozen=True, rename="camel", kw_only=True):
    """How many of a tenant's enabled schedules have a slot in the minute."""

    tenant_id: str
    schedules: int


class LoadMinuteOutput(Struct, frozen=True, rename="camel", kw_only=True):
    """Who fills a minute: the tenants with the most schedules first, and how many there are."""

    minute: str
    schedules: int
    tenants: int
    most: list[TenantLoad]


class LoadInput(Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """Of one tenant, or of all; with ``cron``, what a new schedule of it would meet; with
    ``minute``, an instant of the week, whose slots are in it, of at most ``limit`` tenants.
    """

    tenant_id: TenantId | None = None
    cron: str | None = None
    timezone: str | None = None
    minute: str | None = None
    limit: Limit | None = None


class MetLoad(Struct, frozen=True, rename="camel", kw_only=True):
    """How busy the minutes are in which a new schedule would have its ``slots`` of the week.

    ``median`` is the median number of other schedules' slots in those minutes, ``most`` the largest
    number, which is reached at ``mostAt``.
    """

    slots: int
    median: int
    most: int
    most_at: str | None


class LoadOutput(Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """How many slots of enabled schedules fall into each minute of the week that begins at
    ``begins``; 10,080 numbers.

    Those of paused tenants and disabled installs count: such a hold may end any minute. ``met`` is
    null where no ``cron`` was given, ``minute`` absent where none was.
    """

    begins: str
    schedules: int
    slots: int
    minutes: list[int]
    met: MetLoad | None
    minute: LoadMinuteOutput | None = None
