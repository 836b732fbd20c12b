"""Disabling of schedules, whatever the reason: the row and its timer together."""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from msgspec import Struct

from service.storage.engine.connection import Connection
from service.storage.schedules import timers
from service.storage.schedules.ownership import DRIVEN_BY_OTHER

_DISABLING = """
UPDATE tenant_extension_schedule s
SET enabled = false, job_id = NULL, runner_schedule_id = NULL,
  missing_endpoint = coalesce($5::boolean, s.missing_endpoint),
  disabled_after = CASE WHEN $7::integer IS NOT NULL THEN s.failures END,
  last_error = coalesce(d.error, s.last_error),
  revision = CASE WHEN $6::boolean THEN coalesce(s.revision, 1) + 1 ELSE s.revision END,
  updated_at = $4::timestamptz
FROM unnest($1::text[], $2::uuid[], $3::text[]) AS d (tenant_id, schedule_id, error)
WHERE s.tenant_id = d.tenant_id AND s.id = d.schedule_id {condition}
RETURNING s.tenant_id::text AS tenant_id, s.id, s.install_id
"""

# Looked at in the statement itself: the install may have been updated, or the schedule pointed at
# another endpoint, since the caller read them.
_WITHOUT_ENDPOINT = f"""
  AND s.enabled AND NOT {DRIVEN_BY_OTHER} AND NOT EXISTS (
    SELECT FROM tenant_extension_install i
    JOIN extension_api_endpoint p ON p.version_id = i.version_id
    WHERE i.id = s.install_id AND i.tenant_id = s.tenant_id AND p.id = s.endpoint_id)
"""

# Likewise: a later run of the same batch may have succeeded.
_FAILING = f"""
  AND s.enabled AND NOT {DRIVEN_BY_OTHER} AND coalesce(s.failures, 0) >= $7
"""

DISABLE = _DISABLING.format(condition="")
DISABLE_FAILING = _DISABLING.format(condition=_FAILING)
DISABLE_WITHOUT_ENDPOINT = _DISABLING.format(condition=_WITHOUT_ENDPOINT)


class ScheduleRef(Struct, frozen=True):
    """A schedule, and the install that it belongs to."""

    tenant_id: str
    schedule_id: UUID
    install_id: UUID


async def disable(
    connection: Connection,
    errors: Mapping[tuple[str, UUID], str | None],
    now: datetime,
    *,
    only_without_endpoint: bool = False,
    after_failures: int | None = None,
    missing_endpoint: bool | None = None,
    raise_revision: bool = True,
) -> list[ScheduleRef]:
    """Disable schedules, remove their timers, and return those that were disabled.

    ``errors`` maps (tenant, schedule) to the new ``last_error``, None to keep the stored one.
    ``only_without_endpoint`` disables enabled schedules of this service alone, and of those the
    ones whose endpoint is not one of their install's version; ``after_failures`` those that failed
    so often in a row, and marks them. ``missing_endpoint`` is the mark to set, None to keep it.
    """
    if not errors:
        return []
    statement = DISABLE_WITHOUT_ENDPOINT if only_without_endpoint else DISABLE
    rows = await connection.fetch(
        statement if after_failures is None else DISABLE_FAILING,
        [tenant_id for tenant_id, _ in errors],
        [schedule_id for _, schedule_id in errors],
        list(errors.values()),
        now,
        missing_endpoint,
        raise_revision,
        after_failures,
    )
    disabled = [ScheduleRef(*row) for row in rows]
    await timers.remove(connection, [(ref.tenant_id, ref.schedule_id) for ref in disabled])
    return disabled
