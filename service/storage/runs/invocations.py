"""Everything a call needs, read at the moment of the call, in one statement and so one snapshot:
an install that is being updated is seen before or after, never in between."""

from collections.abc import Sequence
from uuid import UUID

import asyncpg
from msgspec import Struct

from service.storage.engine.connection import Connection

# Read by position: the columns after the number are the members of Invocation, then of Secrets.
LOAD = """
SELECT w.n, s.id IS NOT NULL AS exists, coalesce(s.enabled, false) AS enabled,
  coalesce(i.is_enabled AND i.status = 'enabled', false) AS install_enabled,
  p.tenant_id IS NOT NULL AS paused, o.pool AS runner_pool,
  s.name, e.method, e.path,
  s.payload_json::text AS payload,
  i.id AS install_id, i.registry_id, i.version_id, b.content_hash,
  CASE WHEN c.install_id IS NULL THEN i.config::text ELSE c.config::text END AS config,
  i.granted_caps::text AS granted, c.providers::text AS providers,
  v.capabilities::text AS declared,
  x.ciphertext::text AS ciphertext, x.algorithm::text AS algorithm,
  x.transit_key::text AS transit_key, x.transit_mount::text AS transit_mount,
  x.version::text AS version,
  to_char(x.expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS expires_at
FROM unnest($1::text[], $2::uuid[]) WITH ORDINALITY AS w (tenant_id, schedule_id, n)
LEFT JOIN tenant_extension_schedule s ON s.id = w.schedule_id AND s.tenant_id = w.tenant_id
LEFT JOIN tenant_extension_install i ON i.id = s.install_id AND i.tenant_id = s.tenant_id
LEFT JOIN ext_scheduler.tenant_pauses p ON p.tenant_id = w.tenant_id
LEFT JOIN ext_scheduler.tenant_pools o ON o.tenant_id = w.tenant_id
LEFT JOIN extension_api_endpoint e ON e.id = s.endpoint_id AND e.version_id = i.version_id
LEFT JOIN extension_version v ON v.id = i.version_id
LEFT JOIN LATERAL (
  SELECT n.content_hash FROM extension_bundle n
  WHERE n.version_id = i.version_id ORDER BY n.created_at DESC NULLS LAST, n.id DESC LIMIT 1
) b ON true
LEFT JOIN tenant_extension_install_config c ON c.install_id = i.id AND c.tenant_id = i.tenant_id
LEFT JOIN tenant_extension_install_secrets x ON x.install_id = i.id AND x.tenant_id = i.tenant_id
"""


class Secrets(Struct, frozen=True):
    """The install's envelope as stored; absent members are None."""

    ciphertext: str
    algorithm: str | None
    transit_key: str | None
    transit_mount: str | None
    version: str | None
    expires_at: str | None


class Invocation(Struct, frozen=True):
    """The state of a schedule and its install. JSON columns are text, not parsed; ``method`` and
    ``path`` are None where the endpoint's row is missing or of another version, ``runner_pool`` is
    None for the default pool."""

    exists: bool
    enabled: bool
    install_enabled: bool
    paused: bool
    runner_pool: str | None = None
    name: str | None = None
    method: str | None = None
    path: str | None = None
    payload: str | None = None
    install_id: UUID | None = None
    registry_id: UUID | None = None
    version_id: UUID | None = None
    content_hash: str | None = None
    config: str | None = None
    granted: str | None = None
    providers: str | None = None
    declared: str | None = None
    secrets: Secrets | None = None


SECRETS_AT = len(Invocation.__struct_fields__) - 1
"""Where the members of the secrets stand among the columns after the number: they are last."""


async def load(connection: Connection, schedules: Sequence[tuple[str, UUID]]) -> list[Invocation]:
    """Return the current state for each (tenant, schedule), in order."""
    rows = await connection.fetch(
        LOAD, [tenant for tenant, _ in schedules], [schedule for _, schedule in schedules]
    )
    loaded: list[Invocation | None] = [None] * len(schedules)
    for row in rows:
        # A second config or secrets row of one install would give a second row: the first counts.
        place = row[0] - 1
        if loaded[place] is None:
            loaded[place] = _from_row(row)
    return [invocation for invocation in loaded if invocation is not None]


def _from_row(row: asyncpg.Record) -> Invocation:
    _, *columns = row
    envelope = columns[SECRETS_AT:]
    columns[SECRETS_AT:] = [None if envelope[0] is None else Secrets(*envelope)]
    return Invocation(*columns)
