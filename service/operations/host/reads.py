"""Host operations that change nothing: ``list``, ``get``, ``getEndpoints``."""

from collections.abc import Sequence

from contracts.schedules import GetEndpointsOutput, GetOutput, ListOutput
from service.operations.context import Answer, Call, field_refusal
from service.operations.host.authorization import absent, authorize, denial, tenant_of
from service.operations.views import endpoint_infos, shown_info
from service.rules.endpoints import read_manifest
from service.rules.fields import check_schedule_id
from service.storage.platform import endpoints, installs
from service.storage.schedules import owner_view


async def list_schedules(call: Call) -> Answer:
    """Answer the install's schedules by creation time, then id."""
    found = await owner_view.list_with_install(
        call.connection, await tenant_of(call), call.install_id
    )
    if found is None:
        raise await absent(call)
    install, rows = found
    authorize(install, call.claims, declared_is_granted=call.declared_is_granted)
    return ListOutput(schedules=[shown_info(row) for row in rows])


async def list_together(calls: Sequence[Call]) -> list[Answer | Exception | None]:
    """Answer several lists by two statements: who may ask, and the schedules of those who may.

    None for an install that is not found as the context names it, and for a list that is large.
    """
    connection = calls[0].connection
    found = await installs.rights_of(
        connection, [call.claims.tenant_id for call in calls], [call.install_id for call in calls]
    )
    answers: list[Answer | Exception | None] = [
        None if install is None else denial(install, call)
        for install, call in zip(found, calls, strict=True)
    ]
    allowed = [
        (place, install)
        for place, install in enumerate(found)
        if install is not None and answers[place] is None
    ]
    listed = await owner_view.list_many(
        connection,
        [install.tenant_id for _, install in allowed],
        [install.id for _, install in allowed],
    )
    for (place, _), rows in zip(allowed, listed, strict=True):
        if rows is not None:
            answers[place] = ListOutput(schedules=[shown_info(row) for row in rows])
    return answers


async def get_schedule(call: Call) -> Answer:
    """Answer one schedule, null where the install has no such schedule."""
    checked = check_schedule_id(call.raw)
    found = await owner_view.get_with_install(
        call.connection, await tenant_of(call), call.install_id, checked.schedule_id
    )
    if found is None:
        raise await absent(call)
    install, row = found
    authorize(install, call.claims, declared_is_granted=call.declared_is_granted)
    if checked.errors:
        return field_refusal(checked.errors)
    return GetOutput(schedule=None if row is None else shown_info(row))


async def get_endpoints(call: Call) -> Answer:
    """Answer the endpoints of the version that the install has now, materialised if need be."""
    tenant_id = await tenant_of(call)
    found = await endpoints.list_with_install(call.connection, tenant_id, call.install_id)
    if found is None:
        raise await absent(call)
    install, rows = found
    authorize(install, call.claims, declared_is_granted=call.declared_is_granted)
    manifest = read_manifest(install.manifest)
    if not rows and manifest.entries:
        await endpoints.materialise(call.connection, install.version_id, manifest.entries)
        rows = await endpoints.list_for_version(call.connection, install.version_id)
    return GetEndpointsOutput(endpoints=endpoint_infos(rows, manifest))
