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
from service.storage.platform import endpoints
from service.storage.platform.installs import Install
from service.storage.schedules import owner_view, sharded_views
from service.storage.schedules.owner_view import ScheduleView


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
    """Answer several lists by one statement.

    None stands for an install that is not found as the context names it, and for a list that is
    large.
    """
    if len(calls) == 1:
        return [await list_schedules(calls[0])]
    views = sharded_views if calls[0].policy.sharded else owner_view
    matches = await views.list_many(
        calls[0].connection,
        [call.claims.tenant_id for call in calls],
        [call.install_id for call in calls],
    )
    return [_listed(call, match) for call, match in zip(calls, matches, strict=True)]


def _listed(
    call: Call, match: tuple[Install, list[ScheduleView] | None] | None
) -> OperationResult | None:
    if match is None:
        return None
    install, rows = match
    error = denial(install, call)
    if error is not None:
        return OperationResult(error)
    if rows is None:
        return None
    return OperationResult(ListOutput(schedules=[schedule_view_info(row) for row in rows]))


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
