"""The platform's registry tables, written by this service in an installation without a platform.

Extensions and versions belong to all tenants: an existing one is never changed.
"""

from uuid import UUID

import msgspec
from msgspec import Struct

from contracts.admin_installs import Manifest
from service.rules.columns import read_list
from service.storage.engine.connection import Connection, affected

# In the platform's own tables not every required column has a default: ids and main_entry do not.
EXTENSION = """
INSERT INTO extension_registry (id, publisher, name, display_name)
VALUES (gen_random_uuid(), $1::text, $2::text, $3::text)
ON CONFLICT (publisher, name) DO NOTHING
"""

EXTENSION_ID = "SELECT id FROM extension_registry WHERE publisher = $1::text AND name = $2::text"

VERSION = """
INSERT INTO extension_version
  (id, registry_id, version, runtime, main_entry, api, api_endpoints, capabilities)
VALUES (gen_random_uuid(), $1::uuid, $2::text, coalesce($3::text, 'wasm'), '', $4::text::jsonb,
  $5::text::jsonb, $6::text::jsonb)
ON CONFLICT (registry_id, version) DO NOTHING
"""

# The row lock makes two registrations of one version wait for each other.
FIND_VERSION = """
SELECT v.id, v.api_endpoints::text AS endpoints, v.capabilities::text AS capabilities
FROM extension_version v
WHERE v.registry_id = $1::uuid AND v.version = $2::text
FOR NO KEY UPDATE
"""

# The newest bundle of a version counts.
CONTENT_HASH = """
SELECT content_hash FROM extension_bundle WHERE version_id = $1::uuid
ORDER BY created_at DESC NULLS LAST, id DESC LIMIT 1
"""

BUNDLE = """
INSERT INTO extension_bundle (id, version_id, content_hash)
VALUES (gen_random_uuid(), $1::uuid, $2::text)
"""

INSTALL = """
INSERT INTO tenant_extension_install
  (id, tenant_id, registry_id, version_id, granted_caps, config)
VALUES (gen_random_uuid(), $1::text, $2::uuid, $3::uuid, $4::text::jsonb, $5::text::jsonb)
ON CONFLICT (tenant_id, registry_id) DO NOTHING
"""

FIND_INSTALL = """
SELECT i.id, i.version_id FROM tenant_extension_install i
WHERE i.tenant_id = $1::text AND i.registry_id = $2::uuid
FOR NO KEY UPDATE
"""

GRANT = """
UPDATE tenant_extension_install SET granted_caps = $3::text::jsonb, updated_at = now()
WHERE tenant_id = $1::text AND id = $2::uuid AND granted_caps::text::jsonb <> $3::text::jsonb
"""


class Registered(Struct, frozen=True, kw_only=True):
    """The rows of one install, new or version; ``changed`` is whether anything was written.

    An existing install stays at its version, ``installed_version_id``.
    """

    registry_id: UUID
    version_id: UUID
    install_id: UUID
    installed_version_id: UUID
    changed: bool


class VersionDiffersError(Exception):
    """The version is registered with other content; ``str()`` of it names the difference."""


async def register(
    connection: Connection,
    tenant_id: str,
    manifest: Manifest,
    content_hash: str,
    grants: list[str],
    config: dict[str, object] | None = None,
) -> Registered:
    """Write an extension, its version, its bundle and its install, in the caller's transaction.

    Endpoint rows come from the manifest's list when they are first asked for. Raises
    VersionDiffersError.
    """
    shown = manifest.display_name or manifest.name
    new_extension = affected(
        await connection.execute(EXTENSION, manifest.publisher, manifest.name, shown)
    )
    registry_id = await connection.fetchval(EXTENSION_ID, manifest.publisher, manifest.name)
    version_id, new_version = await _version(connection, registry_id, manifest, content_hash)
    new_install = affected(
        await connection.execute(
            INSTALL, tenant_id, registry_id, version_id, _json(grants), _json(config or {})
        )
    )
    install = await connection.fetchrow(FIND_INSTALL, tenant_id, registry_id)
    assert install is not None  # noqa: S101 -- inserted above unless it existed
    granted = 0
    if grants and not new_install:
        granted = affected(await connection.execute(GRANT, tenant_id, install["id"], _json(grants)))
    return Registered(
        registry_id=registry_id,
        version_id=version_id,
        install_id=install["id"],
        installed_version_id=install["version_id"],
        changed=bool(new_extension + new_version + new_install + granted),
    )


async def _version(
    connection: Connection, registry_id: UUID, manifest: Manifest, content_hash: str
) -> tuple[UUID, int]:
    """Insert the version with its bundle, or check that the existing one is the same."""
    endpoints, capabilities = _json(manifest.api.endpoints), _json(manifest.capabilities)
    new = affected(
        await connection.execute(
            VERSION,
            registry_id,
            manifest.version,
            manifest.runtime,
            _json(manifest.api),
            endpoints,
            capabilities,
        )
    )
    version = await connection.fetchrow(FIND_VERSION, registry_id, manifest.version)
    assert version is not None  # noqa: S101 -- inserted above unless it existed
    stored_hash = await connection.fetchval(CONTENT_HASH, version["id"])
    if stored_hash is None:
        await connection.execute(BUNDLE, version["id"], content_hash)
        return version["id"], 1
    if _prefixed(stored_hash) != _prefixed(content_hash):
        raise VersionDiffersError("content hash")
    if not new and read_list(version["endpoints"]) != read_list(endpoints):
        raise VersionDiffersError("list of endpoints")
    if not new and read_list(version["capabilities"]) != read_list(capabilities):
        raise VersionDiffersError("list of capabilities")
    return version["id"], new


def _prefixed(content_hash: str) -> str:
    return content_hash if ":" in content_hash else f"sha256:{content_hash}"


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
