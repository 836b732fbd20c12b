"""The scheduler of each execution: the signing client, on behalf of its install."""

from uuid import UUID

from contracts.errors import Code, ServiceError
from contracts.execution import ExecuteContext
from runner_bridge.client import InstallContext, SchedulerHost
from runner_bridge.dev_runner.host import SchedulerFor
from runner_bridge.requests import SignedRequests


def schedulers_over(requests: SignedRequests) -> SchedulerFor:
    """Return the ``scheduler_for`` of a Runner that is connected to the bus.

    It raises ServiceError for an execution that names no install.
    """

    def scheduler_for(context: ExecuteContext, capabilities: frozenset[str]) -> SchedulerHost:
        try:
            install_id = UUID(str(context.install_id))
        except ValueError:
            message = "The execution names no install"
            raise ServiceError(Code.DENIED, message) from None
        install = InstallContext(
            install_id=install_id,
            tenant_id=context.tenant_id,
            extension_id=context.extension_id,
            version_id=str(context.version_id) if context.version_id else None,
            providers=tuple(sorted(capabilities)),
        )
        return SchedulerHost(requests, install)

    return scheduler_for
