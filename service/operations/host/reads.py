"""Host operations that change nothing: ``list``, ``get``, ``getEndpoints``."""

from collections.abc import Sequence

from contracts.schedules import GetEndpointsOutput, GetOutput, ListOutput
from service.operations.context import Answer, Call, OperationResult, field_refusal
from service.operations.host.authorization import (
    authorize,
    denial,
    host_operation,
    missing_install,
)
from service.operations.materialise import ensure_endpoints
from service.operations.views import endpoint_infos, schedule_view_info
from service.rules.endpoints import read_manifest
from service.rules.fields import check_schedule_id
from service.storage.platform import endpoints, installs
from service.storage.schedules import owner_view, sharded_views


async def _list_schedules(call: Call, tenant_id: str) -> Answer:
    """Answer the install's schedules by creation time, then id."""
    views = sharded_views if call.policy.sharded else owner_view
    match = await views.list_with_install(call.connection, tenant_id, call.install_id)
    if match is None:
        raise await missing_install(call)
    install, rows = match
    authorize(install, call)
    return ListOutput(schedules=[schedule_view_info(row) for row in rows])


list_schedules = host_operation(_list_schedules)


async def list_batch(calls: Sequence[Call]) -> list[OperationResult | None]:
    """Answer several lists by two statements: who may ask, and the schedules of those who may.

    A single list takes one statement. None stands for an install that is not found as the context
    names it, and for a list that is large.
    """
    if len(calls) == 1:
        return [await list_schedules(calls[0])]
    connection = calls[0].connection
    sharded = calls[0].policy.sharded
    rights = await (sharded_views if sharded else installs).rights_of(
        connection, [call.claims.tenant_id for call in calls], [call.install_id for call in calls]
    )
    results: list[OperationResult | None] = [None] * len(calls)
    allowed = []
    for index, (install, call) in enumerate(zip(rights, calls, strict=True)):
        if install is None:
            continue
        error = denial(install, call)
        if error is None:
            allowed.append((index, install))
        else:
            results[index] = OperationResult(error)
    listed = await (sharded_views if sharded else owner_view).list_many(
        connection,
        [install.tenant_id for _, install in allowed],
        [install.id for _, install in allowed],
    )
    for (index, _), rows in zip(allowed, listed, strict=True):
        if rows is not None:
            output = ListOutput(schedules=[schedule_view_info(row) for row in rows])
            results[index] = OperationResult(output)
    return results


async def get_schedule(call: Call, tenant_id: str) -> Answer:
    """Answer one schedule, null where the install has no such schedule."""
    checked = check_schedule_id(call.raw)
    views = sharded_views if call.policy.sharded else owner_view
    match = await views.get_with_install(
        call.connection, tenant_id, call.install_id, checked.schedule_id
    )
    if match is None:
        raise await missing_install(call)
    install, row = match
    authorize(install, call)
    if checked.errors:
        return field_refusal(checked.errors)
    return GetOutput(schedule=None if row is None else schedule_view_info(row))


async def get_endpoints(call: Call, tenant_id: str) -> Answer:
    """Answer the endpoints of the version that the install has now, materialised if need be."""
    match = await endpoints.list_with_install(call.connection, tenant_id, call.install_id)
    if match is None:
        raise await missing_install(call)
    install, stored = match
    authorize(install, call)
    manifest = read_manifest(install.manifest)
    rows = await ensure_endpoints(call.connection, install.version_id, manifest, stored)
    return GetEndpointsOutput(endpoints=endpoint_infos(rows, manifest))
