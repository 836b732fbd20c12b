"""Messages and protocols at the edges: what a request is once it has left NATS."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from msgspec import Struct

from contracts.context import KeySet
from contracts.errors import Code


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


class Reply(Struct, frozen=True):
    """What goes back. ``error`` is (code number, message) of a service error, else None."""

    headers: dict[str, str]
    body: bytes
    error: tuple[int, str] | None = None


class ServiceOperation(Struct, frozen=True):
    """An operation as the bus offers it: ``op`` is also its endpoint name; JSON Schemas."""

    subject: str
    op: str
    audience: str
    input_schema: dict[str, Any]
    output_schema: dict[str, Any]


Handle = Callable[[Request], Awaitable[Reply]]
Refuse = Callable[[Request, Code, str], Reply]
"""Answers a request without running it: with the given code and message."""


Screen = Callable[[Request], Reply | None]
"""Refuses a request by its looks, cheaply and before it is queued; None for what is to be run."""


class KeySource(Protocol):
    """Provides the keys that are valid at the moment."""

    def current(self) -> KeySet:
        """Return the keys to verify with now."""


def admit_all(_request: Request) -> None:
    """Refuse no request as it arrives: a ``Screen`` for where none is needed."""
