"""Endpoint rows made from a version's own manifest, where the table lacks them.

All tenants share these rows, yet a tenant's request may cause them: they follow from the version
row alone, which only an operator writes, so that who asks first decides nothing.
"""

from collections.abc import Sequence
from uuid import UUID

from service.rules.endpoints import EndpointManifest, normal_method, normal_path
from service.storage.engine.connection import Connection
from service.storage.platform import endpoints
from service.storage.platform.endpoints import Endpoint


async def materialise_missing(
    connection: Connection,
    version_id: UUID,
    manifest: EndpointManifest,
    stored: Sequence[Endpoint] = (),
) -> int:
    """Insert the manifest's entries that ``stored`` lacks; return how many rows are new."""
    # Compared in normal form: the platform may have written a path in another one.
    present = {(normal_method(row.method), normal_path(row.path)) for row in stored}
    missing = [entry for entry in manifest.entries if entry[:2] not in present]
    return await endpoints.materialise(connection, version_id, missing) if missing else 0


async def ensure_endpoints(
    connection: Connection, version_id: UUID, manifest: EndpointManifest, stored: list[Endpoint]
) -> list[Endpoint]:
    """Return a version's endpoints; where ``stored`` is empty, materialise them first."""
    if stored or not await materialise_missing(connection, version_id, manifest):
        return stored
    return await endpoints.list_for_version(connection, version_id)
