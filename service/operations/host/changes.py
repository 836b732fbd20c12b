"""Host operations that change an existing schedule: ``update``, ``delete``."""

from functools import partial

from service.operations.change_context import LookupRequest
from service.operations.context import Answer, Call
from service.operations.host.transaction import change_once
from service.operations.schedule_changes import delete_schedule, update_schedule
from service.rules.fields import check_schedule_id, check_update


async def update(call: Call, tenant_id: str) -> Answer:
    """Change the given fields of a schedule; what stays equal leaves its timer alone."""
    checked = check_update(call.raw, call.policy.limits)
    request = LookupRequest(
        schedule_id=checked.schedule_id,
        name=checked.name or None,
        selector=checked.endpoint or None,
    )
    return await change_once(call, tenant_id, request, partial(update_schedule, checked))


async def delete(call: Call, tenant_id: str) -> Answer:
    """Delete a schedule; what is planned of it ends as skipped."""
    checked = check_schedule_id(call.raw)
    request = LookupRequest(schedule_id=checked.schedule_id)
    return await change_once(call, tenant_id, request, partial(delete_schedule, checked))
