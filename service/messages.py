"""Shapes and protocols at the edges: what a request looks like once NATS is left behind."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

from msgspec import Struct

from contracts.context import KeySet
from contracts.errors import Code

Aside = Callable[[], AbstractContextManager[None]]
"""Entered while a request only waits for something of its own: another takes its place."""


class Request(Struct, frozen=True):
    """One request message: ``op`` is the wire name (``create``), ``audience`` its realm.

    ``received`` is when it arrived, in Unix seconds of this host: it may have waited since.
    """

    subject: str
    op: str
    audience: str
    headers: Mapping[str, str]
    body: bytes
    received: float
    aside: Aside = nullcontext


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
Refuse = Callable[[Request, Code, str], Reply]
"""Answers a request without working on it: with the given code, and why."""


class KeySource(Protocol):
    """Where the keys of this moment come from."""

    def current(self) -> KeySet:
        """Return the keys to verify with now."""
