"""What tenants and installs use: their runs of a day, and what their rate windows hold."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct

from service.storage.engine.connection import Connection

_COUNTS = "count(*), count(*) FILTER (WHERE r.status = 'error')"
_BETWEEN = "r.slot > $2::timestamptz AND r.slot <= $3::timestamptz"

RUNS_OF_TENANTS = f"""
SELECT r.tenant_id, {_COUNTS} FROM ext_scheduler.runs r
WHERE r.tenant_id = ANY ($1::text[]) AND {_BETWEEN}
GROUP BY r.tenant_id
"""

RUNS_OF_INSTALLS = f"""
SELECT r.install_id, {_COUNTS} FROM ext_scheduler.runs r
WHERE r.tenant_id = ANY ($1::text[]) AND {_BETWEEN} AND r.install_id = ANY ($4::uuid[])
GROUP BY r.install_id
"""

WINDOWS = """
SELECT w.tenant_id, w.scope, w.accepted FROM ext_scheduler.rate_windows w
WHERE w.tenant_id = ANY ($1::text[]) AND w.scope = ANY ($2::text[])
"""

MANUAL = "manual"


class UsedShare(Struct, frozen=True):
    """Runs and failed ones of the period; the instants that the rate window holds."""

    runs: int = 0
    failures: int = 0
    accepted: Sequence[datetime] = ()


async def of_tenants(
    connection: Connection, tenant_ids: Sequence[str], since: datetime, now: datetime
) -> dict[str, UsedShare]:
    """Return the usage of each tenant; their rate is that of manual runs."""
    rows = await connection.fetch(RUNS_OF_TENANTS, tenant_ids, since, now)
    runs = {row[0]: (row[1], row[2]) for row in rows}
    rows = await connection.fetch(WINDOWS, tenant_ids, [MANUAL])
    windows = {row[0]: row[2] for row in rows}
    return {id_: UsedShare(*runs.get(id_, (0, 0)), windows.get(id_, ())) for id_ in tenant_ids}


async def of_installs(
    connection: Connection,
    tenant_ids: Sequence[str],
    install_ids: Sequence[UUID],
    since: datetime,
    now: datetime,
) -> dict[UUID, UsedShare]:
    """Return the usage of each install of these tenants; their rate is that of changes."""
    rows = await connection.fetch(RUNS_OF_INSTALLS, tenant_ids, since, now, install_ids)
    runs = {row[0]: (row[1], row[2]) for row in rows}
    scopes = {f"install:{id_}": id_ for id_ in install_ids}
    rows = await connection.fetch(WINDOWS, tenant_ids, list(scopes))
    windows = {scopes[row[1]]: row[2] for row in rows}
    return {id_: UsedShare(*runs.get(id_, (0, 0)), windows.get(id_, ())) for id_ in install_ids}
