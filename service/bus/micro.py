"""The NATS services protocol (ADR-32): what `nats micro` sees. Pure: no connection, no clock.

The command line checks every reply against a JSON Schema and hides, without a word, the services
whose replies do not fit. So all strings are always there, and metadata are strings throughout.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec
from msgspec import Struct

from contracts.discovery import CONCURRENCY, DATABASE, RUNNING, WAITING
from service.messages import ServiceOperation

_NAME = re.compile(r"[A-Za-z0-9_-]+")
_SEMVER = re.compile(
    r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*)){2}"
    r"(-(0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)(\.(0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*))*)?"
    r"(\+[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?"
)


class Identity(Struct, frozen=True):
    """One instance of the service: ``name`` is its kind, ``id`` this process, ``started`` in UTC.

    Raises ValueError for what the protocol's own tools would hide: a name or id outside
    ``[A-Za-z0-9_-]``, a version that is not SemVer, a time without zone.
    """

    name: str
    id: str
    version: str
    description: str
    started: datetime
    metadata: Mapping[str, str] = {}

    def __post_init__(self) -> None:
        for label in (self.name, self.id):
            if not _NAME.fullmatch(label):
                raise ValueError(f"not a service name or id: {label!r}")
        if not _SEMVER.fullmatch(self.version):
            raise ValueError(f"not a semantic version: {self.version!r}")
        if self.started.tzinfo is None:
            raise ValueError("the time of the start has no zone")


class Statistics:
    """What one operation has done since the start. Times in nanoseconds."""

    __slots__ = ("errors", "last_error", "processing_ns", "requests")

    def __init__(self) -> None:
        self.requests = 0
        self.errors = 0
        self.processing_ns = 0
        self.last_error = ""

    def count(self, processing_ns: int, error: tuple[int, str] | None) -> None:
        """Count one answered request; ``error`` is (code number, message) of a service error."""
        self.requests += 1
        self.processing_ns += processing_ns
        if error is not None:
            self.errors += 1
            self.last_error = f"{error[0]}:{error[1]}"


def subjects(identity: Identity, verb: str) -> tuple[str, str, str]:
    """Return the three subjects of a verb: every service, those of this name, this instance."""
    return (
        f"$SRV.{verb}",
        f"$SRV.{verb}.{identity.name}",
        f"$SRV.{verb}.{identity.name}.{identity.id}",
    )


def own_ping(identity: Identity) -> str:
    """Return the subject that only this instance answers: for probing itself through the bus."""
    return subjects(identity, "PING")[2]


def group_ping(identity: Identity) -> str:
    """Return the subject that every instance of this name answers."""
    return subjects(identity, "PING")[1]


def ping(
    identity: Identity,
    *,
    has_database: bool = True,
    running: int = 0,
    waiting: int = 0,
    concurrency: int = 0,
) -> bytes:
    """Return ``io.nats.micro.v1.ping_response`` as JSON, with the state of this instance."""
    numbers = {RUNNING: running, WAITING: waiting, CONCURRENCY: concurrency}
    state = {
        DATABASE: "ok" if has_database else "silent",
        **{name: str(number) for name, number in numbers.items()},
    }
    metadata = {**identity.metadata, **state}
    return msgspec.json.encode({**_common(identity, "ping"), "metadata": metadata})


def info(identity: Identity, operations: Sequence[ServiceOperation], queue: str) -> bytes:
    """Return ``io.nats.micro.v1.info_response`` as JSON, the schemas as text in the metadata."""
    return msgspec.json.encode(
        {
            **_common(identity, "info"),
            "description": identity.description,
            "endpoints": [
                {**_address(operation, queue), "metadata": _schemas(operation)}
                for operation in operations
            ],
        }
    )


def stats(
    identity: Identity,
    operations: Sequence[ServiceOperation],
    queue: str,
    counted: Mapping[str, Statistics],
) -> bytes:
    """Return ``io.nats.micro.v1.stats_response`` as JSON; ``counted`` is keyed by subject."""
    return msgspec.json.encode(
        {
            **_common(identity, "stats"),
            "started": identity.started,
            "endpoints": [
                {**_address(operation, queue), **_figures(counted[operation.subject])}
                for operation in operations
            ],
        }
    )


def _common(identity: Identity, kind: str) -> dict[str, object]:
    return {
        "type": f"io.nats.micro.v1.{kind}_response",
        "name": identity.name,
        "id": identity.id,
        "version": identity.version,
        "metadata": identity.metadata,
    }


def _address(operation: ServiceOperation, queue: str) -> dict[str, str]:
    return {"name": operation.op, "subject": operation.subject, "queue_group": queue}


def _schemas(operation: ServiceOperation) -> dict[str, str]:
    """Return the schemas as metadata; the protocol does not say under which names."""
    return {
        "schema.request": msgspec.json.encode(operation.input_schema).decode(),
        "schema.response": msgspec.json.encode(operation.output_schema).decode(),
    }


def _figures(counted: Statistics) -> dict[str, str | int]:
    return {
        "num_requests": counted.requests,
        "num_errors": counted.errors,
        "last_error": counted.last_error,
        "processing_time": counted.processing_ns,
        "average_processing_time": counted.processing_ns // max(1, counted.requests),
    }
