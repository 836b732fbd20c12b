"""The admin operation that answers why a schedule fires or does not."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from contracts.inputs import Id

HoldCode = Literal[
    "tenant_paused",
    "install_missing",
    "install_disabled",
    "schedule_disabled",
    "endpoint_missing",
    "driven_by_other",
    "timer_missing",
]
"""What holds a schedule, as its rows alone tell."""

FindingCode = Literal[
    "tenant_paused",
    "install_missing",
    "install_disabled",
    "schedule_disabled",
    "endpoint_missing",
    "driven_by_other",
    "cron_invalid",
    "timer_missing",
    "timer_differs",
    "timer_overdue",
    "no_worker_up",
    "run_in_progress",
    "retry_waiting",
    "run_waiting",
    "runner_away",
    "capability_missing",
    "quota_used",
    "rate_used",
    "last_run_failed",
    "schedule_failing",
    "nothing_holds",
    "slot_ran",
    "slot_failed",
    "slot_skipped",
    "slot_in_progress",
    "slot_missed",
    "slot_during_pause",
    "slot_during_install_disabled",
    "slot_during_schedule_disabled",
    "slot_skipped_by_clock",
    "slot_not_due",
    "slot_before_schedule",
    "slot_in_future",
    "slot_expired",
    "slot_unaccounted",
]
"""What may be found of a schedule: first what holds it now, then what became of a slot."""


class Finding(Struct, frozen=True, rename="camel", kw_only=True):
    """One answer to "why". ``holds`` is true where it keeps the schedule from firing now.

    ``code`` is for programs, ``text`` and ``advice`` are for people; ``runId`` is the run that it
    is about. Members are always there, ``null`` when empty.
    """

    code: FindingCode
    text: str
    holds: bool
    since: str | None
    by: str | None
    advice: str | None
    run_id: str | None


MomentText = Annotated[str, Meta(min_length=4, max_length=40)]
"""An instant (RFC 3339), or ``HH:MM`` on the schedule's own clock: the last time that it showed."""


class ExplainInput(Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """Why a schedule fires or does not; with ``at``, what became of that slot."""

    schedule_id: Id
    at: MomentText | None = None


class ExplainOutput(Struct, frozen=True, rename="camel", kw_only=True):
    """The findings, in the order in which to read them; ``slot`` is the instant asked about."""

    schedule_id: str
    tenant_id: str
    install_id: str
    name: str | None
    cron: str
    timezone: str
    words: str | None
    next_run_at: str | None
    slot: str | None
    findings: list[Finding]
