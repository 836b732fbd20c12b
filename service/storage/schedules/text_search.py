"""Schedules searched by text, expression or hold, a bounded number of rows at a time.

No index finds a text within a name, and none is worth what it would cost each create. A request
looks at ``SCANNED_ROWS`` schedules in the order of the pages, so that its cost has a bound; where
they fill less than a page, the next request continues after them.
"""

from uuid import UUID

from msgspec import Struct

from service.storage.engine.connection import Connection
from service.storage.schedules import admin_search
from service.storage.schedules.admin_search import OwnedSchedule, ScheduleFilter
from service.storage.schedules.ownership import driven_by_other

SCANNED_ROWS = 10_000
MAX_MATCHING_ROWS = 10_000
"""The most endpoints, and installs, that a text may match; schedules of others are not found."""

_OF_ALL = "(s.tenant_id, s.id) > ($1::text, $2::uuid)"
_OF_TENANT = "s.tenant_id = $1::text AND s.id > $2::uuid"

# What ``first_hold`` says, in SQL. Evaluated for the scanned rows alone, and only where asked for.
_HELD = f"""
  NOT coalesce(c.enabled, false)
  OR {driven_by_other("c")}
  OR c.tenant_id IN (SELECT tenant_id FROM ext_scheduler.tenant_pauses)
  OR NOT EXISTS (
    SELECT FROM tenant_extension_install i
    JOIN extension_api_endpoint e ON e.id = c.endpoint_id AND e.version_id = i.version_id
    WHERE i.tenant_id = c.tenant_id AND i.id = c.install_id
      AND i.is_enabled AND i.status = 'enabled')
  OR NOT EXISTS (
    SELECT FROM ext_scheduler.timers t
    WHERE t.tenant_id = c.tenant_id AND t.schedule_id = c.id)
"""

_MATCHING = """
WITH endpoints AS MATERIALIZED (
  SELECT e.id FROM extension_api_endpoint e WHERE e.path ILIKE $3::text LIMIT {most}
), installs AS MATERIALIZED (
  SELECT i.id FROM extension_registry r JOIN tenant_extension_install i ON i.registry_id = r.id
  WHERE r.name ILIKE $3 OR r.publisher || '/' || r.name ILIKE $3
  LIMIT {most}
), scanned AS MATERIALIZED (
  SELECT s.tenant_id, s.id, s.install_id, s.name, s.cron, s.enabled, s.last_run_status,
    s.endpoint_id, s.job_id, s.runner_schedule_id, s.released
  FROM tenant_extension_schedule s
  WHERE {scope}
  ORDER BY s.tenant_id, s.id
  LIMIT {scanned}
)
SELECT c.tenant_id::text, c.id FROM scanned c
WHERE ($3 IS NULL OR c.name ILIKE $3 OR c.tenant_id ILIKE $3
    OR c.endpoint_id IN (SELECT id FROM endpoints) OR c.install_id IN (SELECT id FROM installs))
  AND ($4::text IS NULL OR c.cron = $4)
  AND ($5::boolean IS NULL OR ({held}) = $5)
  AND ($6::uuid IS NULL OR c.install_id = $6)
  AND ($7::boolean IS NULL OR coalesce(c.enabled, false) = $7)
  AND ($8::boolean IS NULL OR (c.last_run_status IS NOT DISTINCT FROM 'error') = $8)
ORDER BY c.tenant_id, c.id
LIMIT $9::integer
"""

_SCAN_END = """
SELECT s.tenant_id::text, s.id FROM tenant_extension_schedule s
WHERE {scope}
ORDER BY s.tenant_id, s.id
OFFSET {last} LIMIT 1
"""

MATCHING_OF_ALL, MATCHING_OF_TENANT = (
    _MATCHING.format(scope=scope, held=_HELD, most=MAX_MATCHING_ROWS, scanned=SCANNED_ROWS)
    for scope in (_OF_ALL, _OF_TENANT)
)
SCAN_END_OF_ALL, SCAN_END_OF_TENANT = (
    _SCAN_END.format(scope=scope, last=SCANNED_ROWS - 1) for scope in (_OF_ALL, _OF_TENANT)
)


class TextSearch(Struct, frozen=True, kw_only=True):
    """What to look for, None for anything: ``text`` in the name, tenant, path or extension."""

    text: str | None = None
    cron: str | None = None
    held: bool | None = None

    @property
    def is_empty(self) -> bool:
        """Return whether it looks for nothing."""
        return self.text is None and self.cron is None and self.held is None


class FoundPage(Struct, frozen=True):
    """A page of what was found, and the schedule after which the next begins, None for the last."""

    schedules: list[OwnedSchedule]
    after: tuple[str, UUID] | None


async def page(
    connection: Connection, filter_: ScheduleFilter, search: TextSearch, limit: int
) -> FoundPage:
    """Return at most ``limit`` schedules by tenant, then id; fewer than there are, maybe none."""
    after_tenant, after_id = filter_.after or ("", UUID(int=0))
    if filter_.tenant_id is None:
        matching, scan_end, scope = MATCHING_OF_ALL, SCAN_END_OF_ALL, (after_tenant, after_id)
    else:
        scope = (filter_.tenant_id, after_id)
        matching, scan_end = MATCHING_OF_TENANT, SCAN_END_OF_TENANT
    found = await connection.fetch(
        matching,
        *scope,
        _pattern(search.text),
        search.cron,
        search.held,
        filter_.install_id,
        filter_.enabled,
        filter_.failing,
        limit,
    )
    keys = [(str(row[0]), row[1]) for row in found]
    schedules = await admin_search.several(connection, keys)
    if len(keys) == limit:
        return FoundPage(schedules, keys[-1])
    end = await connection.fetchrow(scan_end, *scope)
    return FoundPage(schedules, None if end is None else (end[0], end[1]))


def _pattern(text: str | None) -> str | None:
    """Return the pattern of a text anywhere within another; its wildcards mean themselves."""
    if text is None:
        return None
    for special in ("\\", "%", "_"):
        text = text.replace(special, f"\\{special}")
    return f"%{text}%"
