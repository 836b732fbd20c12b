"""The operations as a responder offers them on the bus, from the tables of the contract."""

import msgspec

from contracts.admin import ADMIN_OPS, AdminOperation
from contracts.schedules import HOST_OPS, Operation
from contracts.subjects import ADMIN_AUDIENCE, HOST_AUDIENCE, admin_subject, host_subject
from service.messages import ServiceOperation


def service_operations() -> list[ServiceOperation]:
    """Return every operation, those for extensions first."""
    return [
        *(
            _service_operation(op, operation, host_subject(op), HOST_AUDIENCE)
            for op, operation in HOST_OPS.items()
        ),
        *(
            _service_operation(op, operation, admin_subject(op), ADMIN_AUDIENCE)
            for op, operation in ADMIN_OPS.items()
        ),
    ]


def _service_operation(
    op: str, operation: Operation | AdminOperation, subject: str, audience: str
) -> ServiceOperation:
    return ServiceOperation(
        subject=subject,
        op=op,
        audience=audience,
        input_schema=msgspec.json.schema(operation.input),
        output_schema=msgspec.json.schema(operation.output),
    )
