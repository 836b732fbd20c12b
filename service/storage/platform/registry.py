"""The platform's registry tables, written by this service in an installation without a platform.

Extensions and versions belong to all tenants: only operators write them, and an existing one is
never changed.
"""

from uuid import UUID

import asyncpg
import msgspec
from msgspec import Struct, structs

from contracts.admin_installs import Manifest
from service.rules.columns import read_container, read_list
from service.rules.endpoints import read_manifest
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
  (id, registry_id, version, runtime, main_entry, api, api_endpoints, capabilities, ui)
VALUES (gen_random_uuid(), $1::uuid, $2::text, coalesce($3::text, 'wasm'), '', $4::text::jsonb,
  $5::text::jsonb, $6::text::jsonb, $7::text::jsonb)
ON CONFLICT (registry_id, version) DO NOTHING
"""

FIND_VERSION = """
SELECT v.id, v.registry_id, v.runtime, v.api_endpoints::text AS endpoints,
  v.capabilities::text AS capabilities, v.ui::text AS ui,
  (SELECT b.content_hash FROM extension_bundle b WHERE b.version_id = v.id
    ORDER BY b.created_at DESC NULLS LAST, b.id DESC LIMIT 1) AS content_hash
FROM extension_version v
JOIN extension_registry r ON r.id = v.registry_id
WHERE r.publisher = $1::text AND r.name = $2::text AND v.version = $3::text
"""

# Makes two registrations of one version wait for each other.
LOCK_VERSION = """
SELECT v.id FROM extension_version v
WHERE v.registry_id = $1::uuid AND v.version = $2::text
FOR NO KEY UPDATE
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
    """The rows of one install, new or found; ``changed`` is whether anything was written.

    An existing install stays at its version, ``installed_version_id``. ``version_added`` and
    ``bundle_added`` are whether these rows, which all tenants share, are new.
    """

    registry_id: UUID
    version_id: UUID
    install_id: UUID
    installed_version_id: UUID
    changed: bool
    version_added: bool = False
    bundle_added: bool = False


class VersionDiffersError(Exception):
    """The version is not registered with this content; ``str()`` of it names the difference."""


async def register(
    connection: Connection,
    tenant_id: str,
    manifest: Manifest,
    content_hash: str,
    grants: list[str],
    config: dict[str, object] | None = None,
) -> Registered:
    """Write an extension, its version, its bundle and its install, in the caller's transaction.

    What all tenants share is written here: for operators only. A version that was there gets no
    endpoints, and a bundle only where it has none and the manifest is the registered one. Raises
    VersionDiffersError.
    """
    shown = manifest.display_name or manifest.name
    await connection.execute(EXTENSION, manifest.publisher, manifest.name, shown)
    registry_id = await connection.fetchval(EXTENSION_ID, manifest.publisher, manifest.name)
    version_added = affected(
        await connection.execute(
            VERSION,
            registry_id,
            manifest.version,
            manifest.runtime,
            _json(manifest.api),
            _json(manifest.api.endpoints),
            _json(manifest.capabilities),
            None if manifest.ui is None else _json(manifest.ui),
        )
    )
    await connection.execute(LOCK_VERSION, registry_id, manifest.version)
    version = await _find_version(connection, manifest)
    assert version is not None  # noqa: S101 - inserted above unless it existed
    if not version_added:
        _check_manifest(version, manifest)
    bundle_added = version["content_hash"] is None
    if bundle_added:
        await connection.execute(BUNDLE, version["id"], content_hash)
    else:
        _check_content_hash(version, content_hash)
    installed = await _install(connection, tenant_id, version, grants, config)
    return structs.replace(
        installed,
        changed=bool(installed.changed or version_added or bundle_added),
        version_added=bool(version_added),
        bundle_added=bundle_added,
    )


async def install_registered(
    connection: Connection,
    tenant_id: str,
    manifest: Manifest,
    content_hash: str,
    grants: list[str],
    config: dict[str, object] | None = None,
) -> Registered:
    """Install a registered version; write nothing that other tenants share.

    Raises VersionDiffersError where the version is missing or differs from the manifest or hash.
    """
    version = await _find_version(connection, manifest)
    if version is None:
        raise VersionDiffersError("version")
    _check_manifest(version, manifest)
    _check_content_hash(version, content_hash)
    return await _install(connection, tenant_id, version, grants, config)


async def _find_version(connection: Connection, manifest: Manifest) -> asyncpg.Record | None:
    return await connection.fetchrow(
        FIND_VERSION, manifest.publisher, manifest.name, manifest.version
    )


def _check_manifest(version: asyncpg.Record, manifest: Manifest) -> None:
    """Raise VersionDiffersError where the stored version differs from the manifest.

    The display name is not compared: it is the extension's, whatever version is installed.
    """
    if _declared(version["endpoints"]) != _declared(_json(manifest.api.endpoints)):
        raise VersionDiffersError("list of endpoints")
    if read_list(version["capabilities"]) != read_list(_json(manifest.capabilities)):
        raise VersionDiffersError("list of capabilities")
    if manifest.runtime is not None and manifest.runtime != version["runtime"]:
        raise VersionDiffersError("runtime")
    stored_ui = read_container(version["ui"])
    # Versions registered by an earlier release have none.
    if manifest.ui is not None and stored_ui is not None and manifest.ui != stored_ui:
        raise VersionDiffersError("ui")


def _declared(endpoints: str | None) -> tuple[frozenset[tuple[str, str, str]], object, int]:
    """Return what a list of endpoints means, whatever its order and spelling."""
    read = read_manifest(endpoints)
    return frozenset(read.entries), read.withheld, read.malformed


def _check_content_hash(version: asyncpg.Record, content_hash: str) -> None:
    stored = version["content_hash"]
    if stored is None or _prefixed(stored) != _prefixed(content_hash):
        raise VersionDiffersError("content hash")


async def _install(
    connection: Connection,
    tenant_id: str,
    version: asyncpg.Record,
    grants: list[str],
    config: dict[str, object] | None,
) -> Registered:
    """Insert the install unless the tenant has one, and set what it was granted."""
    registry_id = version["registry_id"]
    new_install = affected(
        await connection.execute(
            INSTALL, tenant_id, registry_id, version["id"], _json(grants), _json(config or {})
        )
    )
    install = await connection.fetchrow(FIND_INSTALL, tenant_id, registry_id)
    assert install is not None  # noqa: S101 - inserted above unless it existed
    granted = 0
    if grants and not new_install:
        granted = affected(await connection.execute(GRANT, tenant_id, install["id"], _json(grants)))
    return Registered(
        registry_id=registry_id,
        version_id=version["id"],
        install_id=install["id"],
        installed_version_id=install["version_id"],
        changed=bool(new_install + granted),
    )


def _prefixed(content_hash: str) -> str:
    return content_hash if ":" in content_hash else f"sha256:{content_hash}"


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
