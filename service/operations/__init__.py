"""One async function per operation, and the table that the dispatcher reads."""

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType

from contracts.admin import ADMIN_OPS, AdminOperation
from contracts.schedules import HOST_OPS, Operation
from contracts.subjects import ADMIN_AUDIENCE, HOST_AUDIENCE
from service.operations import host_changes, host_reads
from service.operations.admin_table import ADMIN_FUNCTIONS
from service.operations.call import Answer, Call, Handler, Together
from service.operations.create_together import create_together

HOST_FUNCTIONS = {
    "list": host_reads.list_schedules,
    "get": host_reads.get_schedule,
    "create": host_changes.create,
    "update": host_changes.update,
    "delete": host_changes.delete,
    "getEndpoints": host_reads.get_endpoints,
}

HOST_TOGETHER: Mapping[str, Together] = {
    "list": host_reads.list_together,
    "create": create_together,
}
"""What answers several calls at once, of the operations that can."""


def _table(
    contract: Mapping[str, Operation] | Mapping[str, AdminOperation],
    functions: Mapping[str, Callable[[Call], Awaitable[Answer]]],
    together: Mapping[str, Together],
) -> Mapping[str, Handler]:
    rows = {
        op: Handler(functions[op], operation.output, operation.mutates, together.get(op))
        for op, operation in contract.items()
    }
    return MappingProxyType(rows)


HANDLERS: Mapping[str, Mapping[str, Handler]] = MappingProxyType(
    {
        HOST_AUDIENCE: _table(HOST_OPS, HOST_FUNCTIONS, HOST_TOGETHER),
        ADMIN_AUDIENCE: _table(ADMIN_OPS, ADMIN_FUNCTIONS, {}),
    }
)
"""Audience → operation → what answers it."""
