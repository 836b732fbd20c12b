"""Installs in pages, as administrators see them."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct

from service.storage.engine.connection import Connection
from service.storage.platform.installs import RIGHTS_COLUMNS, RIGHTS_FROM, Install, from_row

_COLUMNS = f"""{RIGHTS_COLUMNS}, r.publisher, r.name, v.version, i.updated_at"""

_FROM = f"""{RIGHTS_FROM} LEFT JOIN extension_registry r ON r.id = i.registry_id"""

_FILTERS = """
  AND ($3::text IS NULL OR r.publisher = $3) AND ($4::text IS NULL OR r.name = $4)
  AND ($5::text IS NULL OR v.version = $5)
  AND ($6::boolean IS NULL
    OR (coalesce(i.is_enabled, false) AND coalesce(i.status, '') = 'enabled') = $6)
  AND i.id BETWEEN $8::uuid AND $9::uuid
ORDER BY i.tenant_id, i.id
LIMIT $7::integer
"""

OF_TENANT = f"SELECT {_COLUMNS} {_FROM} WHERE i.tenant_id = $1::text AND i.id > $2::uuid {_FILTERS}"

OF_ALL = f"SELECT {_COLUMNS} {_FROM} WHERE (i.tenant_id, i.id) > ($1::text, $2::uuid) {_FILTERS}"

SCHEDULE_COUNTS = """
SELECT s.install_id, count(*), count(*) FILTER (WHERE s.enabled)
FROM tenant_extension_schedule s
WHERE s.tenant_id = ANY ($1::text[]) AND s.install_id = ANY ($2::uuid[]) GROUP BY s.install_id
"""


ALL_IDS = (UUID(int=0), UUID(int=2**128 - 1))


class ListedInstall(Struct, frozen=True):
    """An install with its extension's names, None where their rows are missing."""

    install: Install
    publisher: str | None
    name: str | None
    version: str | None
    updated_at: datetime | None
    schedules: int
    enabled_schedules: int


class InstallFilter(Struct, frozen=True, kw_only=True):
    """Filters, None for any value; ``after`` is (tenant, id) of the last install seen.

    ``id_range`` is inclusive.
    """

    tenant_id: str | None
    publisher: str | None = None
    name: str | None = None
    version: str | None = None
    enabled: bool | None = None
    id_range: tuple[UUID, UUID] | None = None
    after: tuple[str, UUID] | None = None


async def page(connection: Connection, filter_: InstallFilter, limit: int) -> list[ListedInstall]:
    """Return at most ``limit`` installs by tenant, then id."""
    after_tenant, after_id = filter_.after or ("", UUID(int=0))
    rows = await connection.fetch(
        OF_ALL if filter_.tenant_id is None else OF_TENANT,
        after_tenant if filter_.tenant_id is None else filter_.tenant_id,
        after_id,
        filter_.publisher,
        filter_.name,
        filter_.version,
        filter_.enabled,
        limit,
        *(filter_.id_range or ALL_IDS),
    )
    installs = [from_row(row) for row in rows]
    counts = await _schedule_counts(connection, installs)
    return [
        ListedInstall(
            install,
            row["publisher"],
            row["name"],
            row["version"],
            row["updated_at"],
            *counts.get(install.id, (0, 0)),
        )
        for install, row in zip(installs, rows, strict=True)
    ]


async def _schedule_counts(
    connection: Connection, installs: Sequence[Install]
) -> dict[UUID, tuple[int, int]]:
    tenants = sorted({install.tenant_id for install in installs})
    ids = [install.id for install in installs]
    rows = await connection.fetch(SCHEDULE_COUNTS, tenants, ids)
    return {row[0]: (row[1], row[2]) for row in rows}
