"""Endpoint rows from manifests: for one version on the way, or for all of them."""

from uuid import UUID

from contracts import admin_installs as contract
from contracts.admin_installs import Problem
from contracts.context import ALL_TENANTS
from contracts.errors import Code
from service.operations.admin.transaction import Ground, Made, entry
from service.operations.context import Answer, refusal
from service.rules.endpoints import Manifest, normal_method, normal_path, read_manifest
from service.storage.engine.connection import Connection
from service.storage.platform import endpoints, versions
from service.storage.platform.endpoints import Endpoint
from service.storage.platform.versions import Version

VERSION_NOT_FOUND = "Version not found"
BATCH = 500
MOST_PROBLEMS = 200


async def materialised(connection: Connection, version: Version) -> list[Endpoint]:
    """Return the endpoints of a version, after those that its manifest has and the table lacks."""
    manifest = read_manifest(version.manifest)
    rows = await endpoints.list_for_version(connection, version.id)
    if await _add_lacking(connection, version.id, manifest, rows):
        rows = await endpoints.list_for_version(connection, version.id)
    return rows


async def backfill(ground: Ground, asked: contract.BackfillEndpointsInput) -> Made | Answer:
    """Materialise the endpoints of one version, or of all; malformed manifests are reported."""
    connection = ground.call.connection
    only = None if asked.version_id is None else UUID(asked.version_id)
    seen, created, malformed, after = 0, 0, list[Problem](), UUID(int=0)
    while found := await versions.page(connection, after, only, BATCH):
        after, seen = found[-1].id, seen + len(found)
        for version in found:
            manifest = read_manifest(version.manifest)
            rows = await endpoints.list_for_version(connection, version.id)
            created += await _add_lacking(connection, version.id, manifest, rows)
            if manifest.malformed:
                malformed.append(_problem(version, manifest))
    if only is not None and not seen:
        return refusal(Code.NOT_FOUND, VERSION_NOT_FOUND)
    answer = contract.BackfillEndpointsOutput(
        success=True,
        versions=seen,
        endpoints_created=created,
        malformed=malformed[:MOST_PROBLEMS],
    )
    if not created:
        return answer
    changes = {"versionId": only, "endpointsCreated": created}
    return Made(answer=answer, entries=[entry(ALL_TENANTS, changes)])


async def _add_lacking(
    connection: Connection, version_id: UUID, manifest: Manifest, rows: list[Endpoint]
) -> int:
    # Compared in normal form: the platform may have written a path in another one.
    there = {(normal_method(row.method), normal_path(row.path)) for row in rows}
    lacking = [listed for listed in manifest.entries if listed[:2] not in there]
    return await endpoints.materialise(connection, version_id, lacking) if lacking else 0


def _problem(version: Version, manifest: Manifest) -> Problem:
    what = f"{manifest.malformed} malformed" if manifest.entries else "no usable entry"
    message = f"api_endpoints of version {version.version}: {what}"
    return Problem(subject=str(version.id), message=message)
