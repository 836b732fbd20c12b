"""One async function per operation, and the table that the dispatcher reads."""

from collections.abc import Mapping
from types import MappingProxyType

from contracts.admin import ADMIN_OPS, AdminOperation
from contracts.schedules import HOST_OPS, Operation
from contracts.subjects import ADMIN_AUDIENCE, HOST_AUDIENCE
from service.operations.admin.table import ADMIN_FUNCTIONS
from service.operations.context import BatchFunction, OperationFunction, OperationSpec
from service.operations.host import changes, create_batch, reads
from service.operations.host.authorization import host_operation

HOST_FUNCTIONS: Mapping[str, OperationFunction] = {
    "list": reads.list_schedules,
    "get": host_operation(reads.get_schedule),
    "create": create_batch.create,
    "update": host_operation(changes.update),
    "delete": host_operation(changes.delete),
    "getEndpoints": host_operation(reads.get_endpoints),
}

HOST_BATCH_FUNCTIONS: Mapping[str, BatchFunction] = {
    "list": reads.list_batch,
    "create": create_batch.create_batch,
}
"""What runs several calls at once, of the operations that can."""


def _table(
    contract: Mapping[str, Operation] | Mapping[str, AdminOperation],
    functions: Mapping[str, OperationFunction],
    batch_functions: Mapping[str, BatchFunction],
) -> Mapping[str, OperationSpec]:
    missing = ", ".join(op for op in contract if op not in functions)
    if missing:
        raise LookupError(f"no function in HOST_FUNCTIONS or ADMIN_FUNCTIONS answers: {missing}")
    rows = {
        op: OperationSpec(
            functions[op], operation.output, operation.mutates, batch_functions.get(op)
        )
        for op, operation in contract.items()
    }
    return MappingProxyType(rows)


OPERATIONS: Mapping[str, Mapping[str, OperationSpec]] = MappingProxyType(
    {
        HOST_AUDIENCE: _table(HOST_OPS, HOST_FUNCTIONS, HOST_BATCH_FUNCTIONS),
        ADMIN_AUDIENCE: _table(ADMIN_OPS, ADMIN_FUNCTIONS, {}),
    }
)
"""Audience → operation → its row."""
