"""Composition root: which parts a role is made of, and the order in which they start and stop."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from enum import StrEnum
from importlib.metadata import version
from logging import getLogger
from uuid import uuid4

import asyncpg
import msgspec

from contracts.schedules import HOST_OPS, Operation
from contracts.subjects import HOST_AUDIENCE, host_subject
from service.bus import Bus, BusUnavailableError
from service.discovery import Identity, own_ping
from service.dispatch import Dispatcher
from service.keyring import KeyRing
from service.logs import fields
from service.metrics import Metrics
from service.ports import ServiceOperation
from service.process import (
    SERVICE_NAME,
    CannotServeError,
    bus_check,
    connected_bus,
    database_check,
    health,
    key_ring,
    life_checks,
    lost,
    opened_pool,
    stop_signal,
    until_stopped,
)
from service.responder import Responder, ResponderEvent, ResponderSettings
from service.rules.limits import Limits
from service.settings import Settings
from service.turns import Turns

log = getLogger(__name__)


class Role(StrEnum):
    """What a process does."""

    RESPONDER = "responder"
    WORKER = "worker"
    ALL = "all"


async def serve(settings: Settings, role: Role) -> None:
    """Serve until SIGTERM or SIGINT, then finish what is in hand.

    Raises CannotServeError when a part cannot be had or is lost for good.
    """
    stopping, started = stop_signal(), asyncio.Event()
    metrics = Metrics()
    checks = life_checks(started, stopping)
    async with AsyncExitStack() as stack:
        keys = key_ring(settings.key_set_file)
        port = await stack.enter_async_context(health(settings, metrics, checks))
        bus = await stack.enter_async_context(connected_bus(settings, SERVICE_NAME, metrics))
        parts = [asyncio.create_task(lost(bus))]
        checks["bus"] = bus_check(bus)
        if role in {Role.RESPONDER, Role.ALL}:
            identity = _identity()
            pool = await stack.enter_async_context(
                opened_pool(settings, "responder", settings.pool_size, metrics)
            )
            checks["database"] = database_check(pool)
            checks["bus"] = bus_check(bus, own_ping(identity))
            await stack.enter_async_context(
                _responder(settings, metrics, bus, pool, keys, identity)
            )
        started.set()
        log.info("serving", extra=fields(role=role.value, http_port=port))
        await until_stopped(stopping, *parts)
        log.info("stopping", extra=fields(role=role.value))


def service_operations() -> list[ServiceOperation]:
    """Every operation as the bus offers it, from the tables of the contract."""
    return [
        _service_operation(op, operation, host_subject(op), HOST_AUDIENCE)
        for op, operation in HOST_OPS.items()
    ]


def limits(settings: Settings) -> Limits:
    """Return the limits that the rules work with."""
    return Limits(
        min_interval_minutes=settings.min_interval_minutes,
        max_schedules=settings.max_schedules,
        changes_per_minute=settings.changes_per_minute,
        manual_runs_per_minute=settings.manual_runs_per_minute,
    )


def _service_operation(
    op: str, operation: Operation, subject: str, audience: str
) -> ServiceOperation:
    return ServiceOperation(
        name=op,
        subject=subject,
        op=op,
        audience=audience,
        input_schema=msgspec.json.schema(operation.input),
        output_schema=msgspec.json.schema(operation.output),
    )


@asynccontextmanager
async def _responder(
    settings: Settings,
    metrics: Metrics,
    bus: Bus,
    pool: asyncpg.Pool,
    keys: KeyRing,
    identity: Identity,
) -> AsyncIterator[Responder]:
    dispatcher = Dispatcher(
        pool=pool,
        keys=keys,
        limits=limits(settings),
        declared_is_granted=settings.declared_is_granted,
        metrics=metrics,
        turns=Turns(settings.changes_per_install),
        pool_acquire_timeout_s=settings.pool_acquire_timeout_ms / 1000,
    )
    responder = Responder(
        bus,
        identity,
        service_operations(),
        dispatcher.handle,
        dispatcher.refuse,
        ResponderSettings(
            concurrency=settings.concurrency,
            waiting=settings.waiting,
            reply_prefixes=settings.reply_prefixes,
            drain_patience=settings.drain_timeout_s,
        ),
        observe=_responder_observer(metrics),
    )
    metrics.inflight.labels("request").set_function(lambda: responder.running)
    try:
        await responder.start()
    except BusUnavailableError as error:
        raise CannotServeError(str(error)) from None
    try:
        yield responder
    finally:
        await responder.stop()


def _responder_observer(metrics: Metrics) -> Callable[[ResponderEvent], None]:
    return lambda event: metrics.messages_dropped.labels(event.value).inc()


def _identity() -> Identity:
    return Identity(
        name=SERVICE_NAME,
        id=uuid4().hex,
        version=version(SERVICE_NAME),
        description="Cron schedules of extensions",
        started=datetime.now(UTC),
    )
