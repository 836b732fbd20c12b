"""Composition root: the only place that opens pools and connections, and closes them again."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from importlib.metadata import version
from logging import getLogger
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import msgspec

from contracts.schedules import HOST_OPS, Operation
from contracts.subjects import HOST_AUDIENCE, host_subject
from service.bus import Bus, BusSettings, BusUnavailableError, connect, probe
from service.connection import BusEvent
from service.discovery import Identity, own_ping
from service.dispatch import Dispatcher
from service.health import Check, serve_health
from service.keyring import KeyRing, KeysUnusableError
from service.logs import fields
from service.metrics import Metrics
from service.ports import ServiceOperation
from service.responder import Responder, ResponderEvent, ResponderSettings
from service.rules.limits import Limits
from service.settings import Settings
from service.storage.faults import is_unavailable
from service.storage.migrate import MigrationError, pending
from service.storage.pool import PoolSettings, is_alive, open_pool
from service.turns import Turns

log = getLogger(__name__)

SERVICE_NAME = "ext-scheduler"
READY_TIMEOUT_S = 2.0


class Role(StrEnum):
    """What a process does."""

    RESPONDER = "responder"
    WORKER = "worker"
    ALL = "all"


class CannotServeError(Exception):
    """The process cannot start, or cannot go on; the message is one line for a person."""


async def serve(settings: Settings, role: Role) -> None:
    """Serve until SIGTERM or SIGINT, then finish what is in hand.

    Raises CannotServeError when a part cannot be had or is lost for good.
    """
    stopping, started = _stop_signal(), asyncio.Event()
    metrics = Metrics()
    checks: dict[str, Check] = {
        "started": _is(started, True, "the process is starting"),
        "staying": _is(stopping, False, "the process is stopping"),
    }
    async with AsyncExitStack() as stack:
        keys = _keys(settings)
        port = await stack.enter_async_context(_health(settings, metrics, checks))
        bus = await stack.enter_async_context(_bus(settings, metrics))
        failures = [asyncio.create_task(_lost(bus))]
        probe_subject = None
        if role in {Role.RESPONDER, Role.ALL}:
            identity = _identity()
            probe_subject = own_ping(identity)
            pool = await stack.enter_async_context(
                _pool(settings, "responder", settings.pool_size, metrics)
            )
            checks["database"] = partial(_check_database, pool)
            await stack.enter_async_context(
                _responder(settings, metrics, bus, pool, keys, identity)
            )
        checks["bus"] = partial(_check_bus, bus, probe_subject)
        started.set()
        log.info("serving", extra=fields(role=role.value, http_port=port))
        await _first(asyncio.create_task(stopping.wait()), failures)
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


def _stop_signal() -> asyncio.Event:
    """Return an event set by the first SIGTERM or SIGINT; the second one ends the process."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop(number: signal.Signals) -> None:
        stopping.set()
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)
    return stopping


async def _first(stopping: asyncio.Task[Any], failures: list[asyncio.Task[Any]]) -> None:
    """Wait for the stop signal; raise what any of the others raises before."""
    try:
        done, _ = await asyncio.wait({stopping, *failures}, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in (stopping, *failures):
            task.cancel()


def _keys(settings: Settings) -> KeyRing:
    try:
        return KeyRing(Path(settings.key_set_file))
    except KeysUnusableError as error:
        raise CannotServeError(str(error)) from None


@asynccontextmanager
async def _bus(settings: Settings, metrics: Metrics) -> AsyncIterator[Bus]:
    bus_settings = BusSettings(
        servers=settings.nats_url.split(","),
        user=settings.nats_user or None,
        password=settings.nats_password or None,
        inbox_prefix=settings.nats_inbox_prefix,
    )
    try:
        bus = await connect(bus_settings, _bus_observer(metrics))
    except BusUnavailableError as error:
        raise CannotServeError(str(error)) from None
    try:
        yield bus
    finally:
        await bus.close()


def _bus_observer(metrics: Metrics) -> Callable[[BusEvent], None]:
    def observe(event: BusEvent) -> None:
        if event in {BusEvent.CONNECTED, BusEvent.RECONNECTED}:
            metrics.nats_connected.set(1)
        elif event in {BusEvent.DISCONNECTED, BusEvent.CLOSED}:
            metrics.nats_connected.set(0)
        if event is BusEvent.RECONNECTED:
            metrics.nats_reconnects.inc()

    return observe


@asynccontextmanager
async def _pool(
    settings: Settings, name: str, size: int, metrics: Metrics
) -> AsyncIterator[asyncpg.Pool]:
    pool_settings = PoolSettings(
        url=settings.database_url,
        size=size,
        name=f"{SERVICE_NAME} {name}",
        lock_timeout_ms=settings.lock_timeout_ms,
        statement_timeout_ms=settings.statement_timeout_ms,
        statement_cache_size=settings.statement_cache_size,
    )
    try:
        pool = await open_pool(pool_settings)
        async with pool.acquire() as connection:
            missing = await pending(connection)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise CannotServeError(f"database not usable: {error}") from error
    except MigrationError as error:
        raise CannotServeError(str(error)) from None
    if missing:
        await pool.close()
        raise CannotServeError(
            f"the database lacks {len(missing)} migrations: run `ext-scheduler migrate`"
        )
    gauge = metrics.pool_connections
    gauge.labels(name, "open").set_function(pool.get_size)
    gauge.labels(name, "idle").set_function(pool.get_idle_size)
    try:
        yield pool
    finally:
        await _close(pool)


async def _close(pool: asyncpg.Pool) -> None:
    try:
        await asyncio.wait_for(pool.close(), 5)
    except TimeoutError:
        pool.terminate()


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


@asynccontextmanager
async def _health(
    settings: Settings, metrics: Metrics, checks: Mapping[str, Check]
) -> AsyncIterator[int]:
    try:
        runner, port = await serve_health(settings.http_host, settings.http_port, metrics, checks)
    except OSError as error:
        raise CannotServeError(
            f"cannot listen on {settings.http_host}:{settings.http_port}: {error.strerror}"
        ) from None
    try:
        yield port
    finally:
        await runner.cleanup()


async def _lost(bus: Bus) -> None:
    await bus.closed.wait()
    raise CannotServeError(bus.closed_reason)


def _is(event: asyncio.Event, wanted: bool, otherwise: str) -> Check:
    async def check() -> None:
        if event.is_set() is not wanted:
            raise CannotServeError(otherwise)

    return check


async def _check_database(pool: asyncpg.Pool) -> None:
    try:
        await is_alive(pool, READY_TIMEOUT_S)
    except Exception as error:
        if is_unavailable(error):
            raise CannotServeError(f"not available: {error!r}") from None
        raise


async def _check_bus(bus: Bus, subject: str | None) -> None:
    await probe(bus, subject, READY_TIMEOUT_S)
