"""``release``: give schedules back to the platform, as ``adopt`` took them."""

from uuid import UUID

from contracts import admin_installs as contract
from contracts.errors import Code
from service.operations.admin.transaction import (
    INSTALL_NOT_FOUND,
    AdminContext,
    AppliedAdminChange,
    make_entry,
    resolve_tenant,
)
from service.operations.context import Answer, refusal
from service.rules.fields import NOT_FOUND
from service.storage.schedules import admin_search, adoption


async def release(
    context: AdminContext, request: contract.ReleaseInput
) -> AppliedAdminChange | Answer:
    """Stop driving the schedules in scope, and leave them enabled, without a handle.

    The platform gives such rows a job of its own; nothing here takes them up until ``adopt`` does.
    """
    connection = context.call.connection
    tenant_id = resolve_tenant(context.call, request.tenant_id)
    install_id = None if request.install_id is None else UUID(request.install_id)
    schedule_id = None if request.schedule_id is None else UUID(request.schedule_id)
    if install_id and not await admin_search.tenant_of(connection, tenant_id, install_id):
        return refusal(Code.NOT_FOUND, INSTALL_NOT_FOUND)
    if schedule_id and not await adoption.owners(connection, tenant_id, [schedule_id]):
        return refusal(Code.NOT_FOUND, NOT_FOUND)
    installs = await adoption.owned_installs(connection, tenant_id, install_id, schedule_id)
    await adoption.lock_installs(connection, installs)
    released = {
        install: ids
        for install in sorted(installs)
        if (ids := await adoption.release(connection, install, schedule_id))
    }
    answer = contract.ReleaseOutput(
        success=True, released=sum(len(ids) for ids in released.values())
    )
    if request.dry_run or not released:
        return answer
    entries = [
        make_entry(owner, {"released": ids}, install_id)
        for (owner, install_id), ids in released.items()
    ]
    return AppliedAdminChange(answer=answer, entries=entries)
