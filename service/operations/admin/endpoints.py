"""Endpoint rows made from manifests: of one version when needed, or of all of them."""

from uuid import UUID

from contracts import admin_installs as contract
from contracts.admin_installs import Problem
from contracts.context import ALL_TENANTS
from contracts.errors import Code
from service.operations.admin.transaction import AdminContext, AppliedAdminChange, make_entry
from service.operations.context import Answer, refusal
from service.operations.materialise import materialise_missing
from service.rules.endpoints import EndpointManifest, read_manifest
from service.storage.engine.connection import Connection
from service.storage.platform import endpoints, versions
from service.storage.platform.endpoints import Endpoint
from service.storage.platform.versions import Version

VERSION_NOT_FOUND = "Version not found"
BATCH_SIZE = 500
MAX_PROBLEMS = 200


async def materialised_endpoints(connection: Connection, version: Version) -> list[Endpoint]:
    """Return the endpoints of a version, after adding those that only its manifest has."""
    manifest = read_manifest(version.manifest)
    rows = await endpoints.list_for_version(connection, version.id)
    if await materialise_missing(connection, version.id, manifest, rows):
        rows = await endpoints.list_for_version(connection, version.id)
    return rows


async def backfill(
    context: AdminContext, request: contract.BackfillEndpointsInput
) -> AppliedAdminChange | Answer:
    """Materialise the endpoints of one version, or of all; malformed manifests are reported."""
    connection = context.call.connection
    only = None if request.version_id is None else UUID(request.version_id)
    seen, malformed, after = 0, list[Problem](), UUID(int=0)
    created: dict[UUID, int] = {}
    while page := await versions.page(connection, after, only, BATCH_SIZE):
        after, seen = page[-1].id, seen + len(page)
        for version in page:
            manifest = read_manifest(version.manifest)
            rows = await endpoints.list_for_version(connection, version.id)
            if added := await materialise_missing(connection, version.id, manifest, rows):
                created[version.id] = added
            if manifest.malformed:
                malformed.append(_problem(version, manifest))
    if only is not None and not seen:
        return refusal(Code.NOT_FOUND, VERSION_NOT_FOUND)
    answer = contract.BackfillEndpointsOutput(
        success=True,
        versions=seen,
        endpoints_created=sum(created.values()),
        malformed=malformed[:MAX_PROBLEMS],
    )
    if not created:
        return answer
    changes = {"versionId": only, "endpointsCreated": answer.endpoints_created}
    entries = [make_entry(ALL_TENANTS, changes)]
    for user in await versions.installs_of(connection, list(created)):
        own = {"versionId": user.version_id, "endpointsCreated": created[user.version_id]}
        entries.append(make_entry(user.tenant_id, own, user.install_id))
    return AppliedAdminChange(answer=answer, entries=entries)


def _problem(version: Version, manifest: EndpointManifest) -> Problem:
    problem = f"{manifest.malformed} malformed" if manifest.entries else "no usable entry"
    message = f"api_endpoints of version {version.version}: {problem}"
    return Problem(subject=str(version.id), message=message)
