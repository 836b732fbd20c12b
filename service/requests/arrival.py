"""A message as it arrived: where, when, and as the request that the rest of the service knows."""

import time
from collections.abc import Mapping
from types import MappingProxyType

from msgspec import Struct

from service.bus.micro import Statistics
from service.messages import Request, ServiceOperation

_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class ServedEndpoint(Struct, frozen=True):
    """An operation, and what it has done so far."""

    operation: ServiceOperation
    statistics: Statistics


class Arrival(Struct, frozen=True):
    """A message that may be answered; ``at`` is when it arrived, by the monotonic clock."""

    endpoint: ServedEndpoint
    request: Request
    reply_to: str
    at: float


def arrival_of(
    endpoint: ServedEndpoint, reply_to: str, headers: Mapping[str, str] | None, body: bytes
) -> Arrival:
    """Return a message that arrives now."""
    operation = endpoint.operation
    request = Request(
        subject=operation.subject,
        op=operation.op,
        audience=operation.audience,
        headers=headers or _NO_HEADERS,
        body=body,
        received=time.time(),
    )
    return Arrival(endpoint, request, reply_to, time.monotonic())
