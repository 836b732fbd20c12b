"""The platform's registry tables, written where there is no platform to write them."""

from uuid import UUID

import msgspec
from msgspec import Struct

from contracts.admin_installs import Manifest
from service.storage.connection import Connection

EXTENSION = """
INSERT INTO extension_registry (publisher, name, display_name)
VALUES ($1::text, $2::text, $3::text)
ON CONFLICT (publisher, name) DO UPDATE SET display_name = excluded.display_name
RETURNING id
"""

VERSION = """
INSERT INTO extension_version (registry_id, version, runtime, api, api_endpoints, capabilities)
VALUES ($1::uuid, $2::text, $3::text, $4::text::jsonb, $5::text::jsonb, $6::text::jsonb)
ON CONFLICT (registry_id, version) DO UPDATE
  SET runtime = excluded.runtime, api = excluded.api, api_endpoints = excluded.api_endpoints,
      capabilities = excluded.capabilities
RETURNING id
"""

# The newest bundle of a version counts, so one that is it already is not added again.
BUNDLE = """
INSERT INTO extension_bundle (version_id, content_hash)
SELECT $1::uuid, $2::text
WHERE $2::text IS DISTINCT FROM (
  SELECT content_hash FROM extension_bundle WHERE version_id = $1::uuid
  ORDER BY created_at DESC LIMIT 1
)
"""

INSTALL = """
INSERT INTO tenant_extension_install (tenant_id, registry_id, version_id, granted_caps)
VALUES ($1::text, $2::uuid, $3::uuid, $4::text::jsonb)
ON CONFLICT (tenant_id, registry_id) DO UPDATE
  SET version_id = excluded.version_id, granted_caps = excluded.granted_caps
RETURNING id
"""


class Registered(Struct, frozen=True):
    """The rows of one install, new or found."""

    registry_id: UUID
    version_id: UUID
    install_id: UUID


async def register(
    connection: Connection,
    tenant_id: str,
    manifest: Manifest,
    content_hash: str,
    grants: list[str],
) -> Registered:
    """Write an extension, its version, its bundle and its install, in the caller's transaction.

    Endpoint rows come from the manifest's list when they are first asked for.
    """
    shown = manifest.display_name or manifest.name
    registry_id = await connection.fetchval(EXTENSION, manifest.publisher, manifest.name, shown)
    version_id = await connection.fetchval(
        VERSION,
        registry_id,
        manifest.version,
        manifest.runtime,
        _json(manifest.api),
        _json(manifest.api.endpoints),
        _json(manifest.capabilities),
    )
    await connection.execute(BUNDLE, version_id, content_hash)
    install_id = await connection.fetchval(
        INSTALL, tenant_id, registry_id, version_id, _json(grants)
    )
    return Registered(registry_id, version_id, install_id)


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
