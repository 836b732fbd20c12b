"""One async function per operation, and the table that the dispatcher reads."""

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType

from contracts.admin import ADMIN_OPS, AdminOperation
from contracts.schedules import HOST_OPS, Operation
from contracts.subjects import ADMIN_AUDIENCE, HOST_AUDIENCE
from service.operations.admin.table import ADMIN_FUNCTIONS
from service.operations.context import Answer, Call, Handler, Together
from service.operations.host import changes, reads
from service.operations.host.create_batch import create_together

HOST_FUNCTIONS = {
    "list": reads.list_schedules,
    "get": reads.get_schedule,
    "create": changes.create,
    "update": changes.update,
    "delete": changes.delete,
    "getEndpoints": reads.get_endpoints,
}

HOST_TOGETHER: Mapping[str, Together] = {
    "list": reads.list_together,
    "create": create_together,
}
"""What answers several calls at once, of the operations that can."""


def _table(
    contract: Mapping[str, Operation] | Mapping[str, AdminOperation],
    functions: Mapping[str, Callable[[Call], Awaitable[Answer]]],
    together: Mapping[str, Together],
) -> Mapping[str, Handler]:
    missing = ", ".join(op for op in contract if op not in functions)
    if missing:
        raise LookupError(f"no function in HOST_FUNCTIONS or ADMIN_FUNCTIONS answers: {missing}")
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
