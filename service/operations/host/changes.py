"""Host operations that change a schedule: ``create``, ``update``, ``delete``."""

from functools import partial

from service.operations.change_context import Asked
from service.operations.context import Answer, Call
from service.operations.host.transaction import make
from service.operations.schedule_changes import create_schedule, delete_schedule, update_schedule
from service.rules.fields import CheckedCreate, check_create, check_schedule_id, check_update


async def create(call: Call) -> Answer:
    """Create a schedule, due at its next slot from now."""
    checked = check_create(call.raw, call.limits)
    return await make(call, asked_by(checked), partial(create_schedule, checked))


def asked_by(checked: CheckedCreate) -> Asked:
    """What a create wants looked up."""
    return Asked(name=checked.name, selector=checked.endpoint)


async def update(call: Call) -> Answer:
    """Change the given fields of a schedule; what stays equal leaves its timer alone."""
    checked = check_update(call.raw, call.limits)
    asked = Asked(
        schedule_id=checked.schedule_id,
        name=checked.name or None,
        selector=checked.endpoint or None,
    )
    return await make(call, asked, partial(update_schedule, checked))


async def delete(call: Call) -> Answer:
    """Delete a schedule; what is planned of it ends as skipped."""
    checked = check_schedule_id(call.raw)
    asked = Asked(schedule_id=checked.schedule_id)
    return await make(call, asked, partial(delete_schedule, checked))
