"""``exportTenant``: schedules by extension, method and path."""

from collections.abc import Mapping
from itertools import groupby
from typing import Any
from uuid import UUID

from contracts import admin_schedules as contract
from contracts.admin_installs import Problem
from contracts.admin_schedules import PortableExtension, PortableSchedule, TenantDocument
from contracts.inputs import MAX_IMPORT_ROWS
from service.operations.admin.transaction import (
    resolve_tenant,
)
from service.operations.context import Answer, Call
from service.rules import admin_fields, cursors, payload
from service.storage.schedules import transfer
from service.storage.schedules.transfer import ExportRow

FORMAT = 1
BY_INSTALL: type[tuple[UUID, UUID]] = tuple[UUID, UUID]
MAX_DOCUMENT_CHARACTERS = 180_000
"""The size of one document, which has to fit into the body of an import."""


def export_errors(_: Call, values: Mapping[str, Any]) -> Mapping[str, str]:
    """Return the errors of ``exportTenant`` that its field types do not cover."""
    text = values.get("cursor")
    readable = text is None or cursors.read(text, BY_INSTALL) is not None
    return {} if readable else {"cursor": admin_fields.invalid("cursor")}


async def export_tenant(call: Call, request: contract.ExportTenantInput) -> Answer:
    """Answer a tenant's schedules as a document for ``importTenant``."""
    resolve_tenant(call, request.tenant_id)
    after = None if request.cursor is None else cursors.read(request.cursor, BY_INSTALL)
    limit = request.limit or MAX_IMPORT_ROWS
    start = after or (UUID(int=0), UUID(int=0))
    rows = await transfer.page(call.connection, request.tenant_id, start, limit + 1)
    sizes = [len(row.payload or "") + len(row.path or "") + 400 for row in rows]
    shown = rows[: cursors.fitting(sizes, limit, MAX_DOCUMENT_CHARACTERS)]
    kept = [row for row in shown if row.extension is not None and row.path is not None]
    extensions = [
        PortableExtension(
            publisher=publisher or "",
            name=name or "",
            schedules=[_portable_schedule(row) for row in group],
        )
        for (publisher, name), group in groupby(kept, lambda row: (row.publisher, row.extension))
    ]
    more = len(shown) < len(rows)
    return contract.ExportTenantOutput(
        document=TenantDocument(format=FORMAT, tenant_id=request.tenant_id, extensions=extensions),
        omitted=[
            Problem(subject=str(row.id), message="Its endpoint is gone")
            for row in shown
            if row not in kept
        ],
        next_cursor=cursors.write(shown[-1].install_id, shown[-1].id) if more else None,
    )


def _portable_schedule(row: ExportRow) -> PortableSchedule:
    return PortableSchedule(
        endpoint_method=row.method or "",
        endpoint_path=row.path or "",
        name=row.name,
        cron=row.cron,
        timezone=row.timezone or "UTC",
        enabled=row.enabled,
        payload=None if row.payload is None else payload.from_json(row.payload),
    )
