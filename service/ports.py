"""Shapes and protocols at the edges: what a request looks like once NATS is left behind."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from msgspec import Struct


class Request(Struct, frozen=True):
    """One request message: ``op`` is the wire name (``create``), ``audience`` its realm."""

    subject: str
    op: str
    audience: str
    headers: Mapping[str, str]
    body: bytes


class Reply(Struct, frozen=True):
    """What goes back. ``error`` is (code number, message) of a service error, else None."""

    headers: dict[str, str]
    body: bytes
    error: tuple[int, str] | None = None


class ServiceOperation(Struct, frozen=True):
    """An operation as the bus offers it: ``name`` is the endpoint name, schemas are JSON Schema."""

    name: str
    subject: str
    op: str
    audience: str
    input_schema: dict[str, Any]
    output_schema: dict[str, Any]


Handle = Callable[[Request], Awaitable[Reply]]
Refuse = Callable[[Request, str], Reply]
"""Answers a request that is not worked on (queue full, draining): ``UNAVAILABLE``, with why."""
