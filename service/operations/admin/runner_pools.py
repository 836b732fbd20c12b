"""The admin operation that assigns a tenant to a pool of Runners."""

from contracts import admin_installs as contract
from service.operations.admin.transaction import AdminContext, AppliedAdminChange, make_entry
from service.operations.context import Answer
from service.storage.platform import runner_pools


async def set_tenant_pool(
    context: AdminContext, request: contract.SetTenantPoolInput
) -> AppliedAdminChange | Answer:
    """Assign a tenant to a pool, from the next attempt of any of its runs on."""
    claims, tenant_id = context.call.claims, request.tenant_id
    answer = contract.SetTenantPoolOutput(success=True)
    changed = await runner_pools.assign(
        context.call.connection,
        tenant_id,
        request.pool,
        context.now,
        f"{claims.iss}/{claims.sub}",
    )
    if not changed:
        return answer
    return AppliedAdminChange(
        answer=answer, entries=[make_entry(tenant_id, {"pool": request.pool})]
    )
