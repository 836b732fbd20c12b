"""The resources of every process: keys, bus, pools, health."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from logging import getLogger
from pathlib import Path
from typing import Any

import asyncpg
from msgspec import Struct

from contracts.shared.cancellation import cancel_and_wait
from service.bus.client import BusEvent
from service.bus.connection import Bus, BusUnavailableError, connect, probe
from service.runtime.bus_settings import bus_settings
from service.runtime.errors import CannotReachError, CannotServeError
from service.runtime.health import Exposition, HealthCheck, serve_health
from service.runtime.key_file import KeyRing, KeysUnusableError
from service.runtime.metrics import Metrics
from service.runtime.settings import Settings
from service.runtime.shutdown import first_of
from service.storage.engine import grants
from service.storage.engine.acquire import acquired
from service.storage.engine.connect import Servers
from service.storage.engine.connection import Connection
from service.storage.engine.errors import describe, is_unavailable
from service.storage.engine.migrate import MigrationError, pending
from service.storage.engine.pool import PoolSettings, is_alive, open_pool
from service.storage.engine.watchdog import Watchdog

log = getLogger(__name__)

SERVICE_NAME = "ext-scheduler"
READY_TIMEOUT_S = 2.0
CLOSE_TIMEOUT_S = 5.0
DATABASE_ERRORS = (
    OSError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)
"""What the driver raises when a database is missing, is lost, or refuses."""
MESSAGE_EVENTS = frozenset({BusEvent.SLOW_CONSUMER, BusEvent.MALFORMED_MESSAGE})
"""What can happen to a connection that may have cost a message its answer."""


class WatchedPool(Struct, frozen=True):
    """A pool, and what tells whether its server answers."""

    pool: asyncpg.Pool
    watchdog: Watchdog


def key_ring(file: str) -> KeyRing:
    """Return the keys in a file. Raises CannotServeError when they cannot be used."""
    try:
        return KeyRing(Path(file))
    except KeysUnusableError as error:
        raise CannotServeError(str(error)) from None


@asynccontextmanager
async def connected_bus(settings: Settings, name: str, metrics: Metrics) -> AsyncIterator[Bus]:
    """Connect within the context. Raises CannotReachError when that is impossible."""
    try:
        bus = await connect(bus_settings(settings, name), _bus_observer(metrics))
    except BusUnavailableError as error:
        raise CannotReachError(str(error)) from None
    try:
        yield bus
    finally:
        await bus.close()


def watch(bus: Bus) -> Callable[[asyncio.Event], Coroutine[Any, Any, None]]:
    """Return a component that raises CannotServeError when the bus connection is closed."""

    async def watching(stopping: asyncio.Event) -> None:
        await first_of(bus.closed, stopping)
        if bus.closed.is_set():
            raise CannotServeError(bus.closed_reason)

    return watching


@asynccontextmanager
async def opened_pool(
    settings: Settings, name: str, size: int, metrics: Metrics, *, firing: bool
) -> AsyncIterator[WatchedPool]:
    """Connect to a migrated database within the context, for ``firing`` or for requests.

    Raises CannotReachError when it is unavailable, CannotServeError when it lacks migrations.
    """
    pool_settings = PoolSettings(
        url=settings.database_url,
        size=size,
        name=f"{SERVICE_NAME} {name}",
        lock_timeout_ms=settings.lock_timeout_ms,
        statement_timeout_ms=settings.statement_timeout_ms,
        statement_cache_size=settings.statement_cache_size,
        keep_open=firing,
        index_only=not firing,  # firing sets it in its transactions
    )
    with using_database():
        servers = Servers(settings.database_url)
        watchdog = Watchdog(servers, pool_settings.name)
        pool = await open_pool(pool_settings, servers, watchdog.connections.add)
    gauge = metrics.pool_connections
    gauge.labels(name, "open").set_function(pool.get_size)
    gauge.labels(name, "idle").set_function(pool.get_idle_size)
    gauge.labels(name, "limit").set(size)
    try:
        await _require_migrated(pool)
        async with background(watchdog.run()):
            yield WatchedPool(pool, watchdog)
    finally:
        await _close(pool)


@asynccontextmanager
async def background(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run work that ends by being cancelled at the end of the context."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        await cancel_and_wait({task})


@contextmanager
def using_database() -> Iterator[None]:
    """Raise CannotReachError where the database is lost, or refuses, while a process starts."""
    try:
        yield
    except DATABASE_ERRORS as error:
        raise CannotReachError(f"database not usable: {describe(error)}") from error


@asynccontextmanager
async def health(
    settings: Settings, exposition: Exposition, checks: Mapping[str, HealthCheck]
) -> AsyncIterator[int]:
    """Serve health and metrics within the context; yield the port in use.

    Checks may be added while it serves. Raises CannotServeError when the port is taken.
    """
    host, port = settings.http_host, settings.http_port
    try:
        runner, port = await serve_health(host, port, exposition, checks)
    except OSError as error:
        raise CannotServeError(f"cannot listen on {host}:{port}: {error.strerror}") from None
    try:
        yield port
    finally:
        await runner.cleanup()


def life_checks(started: asyncio.Event, stopping: asyncio.Event) -> dict[str, HealthCheck]:
    """Return the checks that pass from the end of the start to the beginning of the stop."""
    return {
        "started": _state(started.is_set, "the process is starting"),
        "staying": _state(lambda: not stopping.is_set(), "the process is stopping"),
    }


def bus_check(bus: Bus, subject: str | None = None) -> HealthCheck:
    """Return a check of the bus' round trip; see ``bus.probe`` for ``subject``."""
    return partial(_check_bus, bus, subject)


def database_check(pool: asyncpg.Pool) -> HealthCheck:
    """Return a check that a statement gets its answer."""
    return partial(_check_database, pool)


def migration_check(pool: asyncpg.Pool) -> HealthCheck:
    """Return a check that the database lacks no migration; it may have newer ones."""
    return partial(_check_migrations, pool)


def _bus_observer(metrics: Metrics) -> Callable[[BusEvent], None]:
    def observe(event: BusEvent) -> None:
        if event in {BusEvent.CONNECTED, BusEvent.RECONNECTED}:
            metrics.nats_connected.set(1)
        elif event in {BusEvent.DISCONNECTED, BusEvent.CLOSED}:
            metrics.nats_connected.set(0)
        if event is BusEvent.RECONNECTED:
            metrics.nats_reconnects.inc()
        if event in MESSAGE_EVENTS:
            metrics.messages_dropped.labels(event.value).inc()

    return observe


async def _require_migrated(pool: asyncpg.Pool) -> None:
    try:
        with using_database():
            async with acquired(pool) as connection:
                await _require_usable(connection)
    except MigrationError as error:
        raise CannotServeError(str(error)) from None


async def _require_usable(connection: Connection) -> None:
    role = await grants.current_role(connection)
    try:
        if missing := await pending(connection):
            raise CannotServeError(
                f"the database lacks {len(missing)} migrations: run `ext-scheduler migrate`"
            )
        lacks = "; ".join(await grants.missing(connection, role))
    except asyncpg.InsufficientPrivilegeError:
        lacks = "USAGE on schema ext_scheduler, or SELECT on its tables"
    if lacks:
        raise CannotServeError(
            f"role {role} lacks {lacks}:"
            f" run `ext-scheduler migrate --grants {role}` as the owner of the tables"
        )


async def _close(pool: asyncpg.Pool) -> None:
    try:
        await asyncio.wait_for(pool.close(), CLOSE_TIMEOUT_S)
    except TimeoutError:
        pool.terminate()


def _state(holds: Callable[[], bool], otherwise: str) -> HealthCheck:
    async def check() -> None:
        if not holds():
            raise CannotServeError(otherwise)

    return check


async def _check_database(pool: asyncpg.Pool) -> None:
    try:
        await is_alive(pool, READY_TIMEOUT_S)
    except Exception as error:
        if is_unavailable(error):
            raise CannotServeError(f"not available: {error!r}") from None
        raise


async def _check_migrations(pool: asyncpg.Pool) -> None:
    try:
        async with pool.acquire(timeout=READY_TIMEOUT_S) as connection:
            missing = await pending(connection)
    except MigrationError:
        # A newer release has migrated; this process continues until it is replaced.
        return
    if missing:
        raise CannotServeError(f"the database lacks {len(missing)}")


async def _check_bus(bus: Bus, subject: str | None) -> None:
    await probe(bus, subject, READY_TIMEOUT_S)
