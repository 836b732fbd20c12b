"""The admin operation that makes the schedules of installs what a document declares."""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from contracts.errors import Outcome
from contracts.inputs import MAX_IMPORT_ROWS, Name, TenantId
from contracts.schedules import Payload

ApplyAction = Literal["create", "update", "delete"]


class DeclaredSchedule(
    Struct,
    frozen=True,
    rename="camel",
    omit_defaults=True,
    kw_only=True,
    forbid_unknown_fields=True,
):
    """What the schedule of this name is to be; a field that is absent has its default."""

    name: Name
    endpoint: str
    cron: str
    timezone: str | None = None
    enabled: bool | None = None
    payload: Payload | None = None


class DeclaredInstall(
    Struct, frozen=True, rename="camel", kw_only=True, forbid_unknown_fields=True
):
    """The schedules of a tenant's install of an extension, by publisher and name."""

    publisher: Name
    name: Name
    schedules: Annotated[list[DeclaredSchedule], Meta(max_length=MAX_IMPORT_ROWS)]


class ApplySchedulesInput(Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """All or nothing. A schedule is matched by its name within the install, 1000 at most in all.

    ``prune`` deletes what the named installs have beyond that, schedules without a name included.
    One that another job runner drives is refused where it would change.
    """

    tenant_id: TenantId
    installs: Annotated[list[DeclaredInstall], Meta(max_length=MAX_IMPORT_ROWS)]
    prune: bool = False
    dry_run: bool = False


class FieldChange(Struct, frozen=True, rename="camel", kw_only=True):
    """A field before and after, as text for people; null where there is no value.

    A payload is JSON, of which 200 characters are shown at most.
    """

    field: str
    before: str | None
    after: str | None


class ScheduleChange(Struct, frozen=True, rename="camel", kw_only=True):
    """A schedule that was changed, or would be; one that would be created has no id yet."""

    action: ApplyAction
    publisher: str
    extension: str
    name: str | None
    install_id: str
    schedule_id: str | None
    fields: list[FieldChange]


class ApplySchedulesOutput(Outcome, frozen=True, kw_only=True):
    """What was changed, or would be. Field errors are keyed by path: ``installs[0].schedules[2]``.

    A conflict is a schedule that another job runner drives.
    """

    created: int | None = None
    updated: int | None = None
    deleted: int | None = None
    unchanged: int | None = None
    changes: list[ScheduleChange] = field(default_factory=list)
