"""Events: published after the commit, at least once."""

from enum import StrEnum
from typing import Any

from msgspec import UNSET, Struct, UnsetType


class EventType(StrEnum):
    """What happened; the dot stays in the subject."""

    SCHEDULE_CREATED = "schedule.created"
    SCHEDULE_UPDATED = "schedule.updated"
    SCHEDULE_DELETED = "schedule.deleted"
    SCHEDULE_DISABLED = "schedule.disabled"
    SCHEDULE_FAILING = "schedule.failing"
    SCHEDULE_RECOVERED = "schedule.recovered"
    SCHEDULE_MISSED = "schedule.missed"
    RUN_SUCCEEDED = "run.succeeded"
    RUN_FAILED = "run.failed"
    INSTALL_UPDATED = "install.updated"
    INSTALL_REMOVED = "install.removed"


class Event(Struct, frozen=True, rename="camel", kw_only=True):
    """One event, always JSON. ``id`` is a UUID by which clients detect repeats; ``at`` RFC 3339."""

    id: str
    type: EventType
    tenant_id: str
    install_id: str
    schedule_id: str | UnsetType = UNSET
    run_id: str | UnsetType = UNSET
    at: str
    data: dict[str, Any]
