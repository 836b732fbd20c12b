"""Composition root: which parts a role is made of, and the order in which they start and stop."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from logging import getLogger
from uuid import uuid4

import asyncpg
from msgspec import Struct

from contracts.context import InvalidKeySet, Key, signing_key
from contracts.subjects import RUNNER_AUDIENCE
from service.bus.connection import Bus, BusUnavailableError
from service.bus.micro import Identity, own_ping
from service.component_settings import policy, responder_settings, worker_settings
from service.flow_control.keyed_limiter import PerKeyLimiter
from service.requests.batcher import RequestBatcher
from service.requests.dispatcher import Dispatcher
from service.requests.queue_share import keep_share
from service.requests.responder import Responder, ResponderEvent
from service.requests.service_operations import service_operations
from service.requests.signature_checker import signature_checker
from service.runtime.errors import CannotServeError
from service.runtime.health import HealthCheck
from service.runtime.key_file import KeyRing
from service.runtime.logs import fields
from service.runtime.metrics import Metrics
from service.runtime.resources import (
    MESSAGE_EVENTS,
    SERVICE_NAME,
    WatchedPool,
    background,
    bus_check,
    connected_bus,
    database_check,
    health,
    key_ring,
    life_checks,
    migration_check,
    opened_pool,
    using_database,
    watch,
)
from service.runtime.role import Role
from service.runtime.settings import Settings
from service.runtime.shutdown import (
    BEYOND_DRAIN_S,
    force_exit_after,
    running,
    stop_signal,
    unless_stopped,
    until_stopped,
)
from service.runtime.supervision import supervised
from service.runtime.tracing import Spans, TracingUnavailableError, exported_spans
from service.runtime.webhooks_file import read_webhooks
from service.storage.engine import citus
from service.storage.engine.acquire import acquired
from service.storage.engine.kept_connections import KeptConnections
from service.worker.outbox_publisher import OutboxPublisher
from service.worker.runner_client import RunnerClient
from service.worker.webhook_sender import WebhookSender
from service.worker.worker import Worker, WorkerEndedError

log = getLogger(__name__)


class Shared(Struct, frozen=True):
    """What the parts of a process share; ``sharded`` is a database of several nodes."""

    settings: Settings
    metrics: Metrics
    spans: Spans | None
    bus: Bus
    pools: dict[Role, WatchedPool]
    sharded: bool

    @property
    def pool(self) -> asyncpg.Pool:
        """Return a pool for what belongs to no role."""
        return next(iter(self.pools.values())).pool


async def serve(settings: Settings, role: Role, *, processes: int = 1) -> None:
    """Serve until SIGTERM or SIGINT, as one of ``processes``, then finish the work in flight.

    Raises CannotServeError when a component is unavailable or permanently lost.
    """
    stop_timeout_s = settings.drain_timeout_s + BEYOND_DRAIN_S
    stopping, started = stop_signal(stop_timeout_s), asyncio.Event()
    metrics = Metrics()
    checks = life_checks(started, stopping)
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        keys = key_ring(settings.key_set_file)
        webhooks = read_webhooks(settings.webhooks_file)
        spans = await enter(_spans(settings))
        port = await enter(health(settings, metrics.exposition, checks))
        shared = await unless_stopped(stopping, _connect(stack, settings, role, metrics, spans))
        if shared is None:
            return
        checks |= _checks(shared.bus, shared.pool)
        nodes_of = citus.tenants_by_node if shared.sharded else None
        publisher = OutboxPublisher(shared.pool, shared.bus.client, nodes_of=nodes_of)
        parts = [await enter(running(watch(shared.bus))), await enter(running(publisher.run))]
        if role in {Role.WORKER, Role.ALL}:
            worker = _worker(shared, publisher)
            parts.append(
                await enter(running(worker.run, stop_event=stopping, timeout_s=stop_timeout_s))
            )
            if webhooks:
                sender = WebhookSender(shared.pools[Role.WORKER].pool, webhooks, metrics)
                parts.append(await enter(running(sender.run)))
        if role in {Role.RESPONDER, Role.ALL}:
            identity = await _start_responder(stack, shared, keys, publisher, processes)
            checks["bus"] = bus_check(shared.bus, own_ping(identity))
        await enter(supervised())
        started.set()
        log.info("serving", extra=fields(role=role.value, http_port=port))
        try:
            await until_stopped(stopping, *parts)
        except WorkerEndedError as error:
            raise CannotServeError(str(error)) from error
        finally:
            force_exit_after(stop_timeout_s)
        log.info("stopping", extra=fields(role=role.value))


async def _connect(
    stack: AsyncExitStack, settings: Settings, role: Role, metrics: Metrics, spans: Spans | None
) -> Shared:
    """Connect to bus and database, for as long as the stack is open."""
    enter = stack.enter_async_context
    bus = await enter(connected_bus(settings, SERVICE_NAME, metrics))
    pools = {
        each: await enter(
            opened_pool(settings, each.value, size, metrics, firing=each is Role.WORKER)
        )
        for each, size in _pool_sizes(settings, role).items()
    }
    sharded = await _is_sharded(next(iter(pools.values())).pool)
    return Shared(settings, metrics, spans, bus, pools, sharded)


def _worker(shared: Shared, publisher: OutboxPublisher) -> Worker:
    return Worker(
        shared.pools[Role.WORKER].pool,
        _runner_client(shared.settings, shared.bus, shared.spans),
        shared.metrics,
        worker_settings(shared.settings, sharded=shared.sharded),
        on_finished=publisher.wake,
    )


async def _start_responder(
    stack: AsyncExitStack,
    shared: Shared,
    keys: KeyRing,
    publisher: OutboxPublisher,
    processes: int,
) -> Identity:
    """Answer requests for as long as the stack is open; return as whom."""
    identity = _identity()
    settings, watched = shared.settings, shared.pools[Role.RESPONDER]
    acquire = partial(acquired, watched.pool, settings.pool_acquire_timeout_ms / 1000)
    connect = KeptConnections(acquire).connection
    batcher = RequestBatcher(
        connect,
        policy(settings, sharded=shared.sharded),
        node_of=citus.tenant_nodes(connect) if shared.sharded else None,
    )
    has_database = watched.watchdog.has_answer
    responder = _responder(settings, shared.metrics, shared.bus, identity, has_database)
    checker = await stack.enter_async_context(signature_checker(processes))
    dispatcher = Dispatcher(
        keys=keys,
        metrics=shared.metrics,
        limiter=PerKeyLimiter(
            settings.changes_per_install,
            waiting=max(1, settings.waiting // 4),
            timeout_s=settings.lock_timeout_ms / 1000,
        ),
        batcher=batcher,
        is_signed=checker.is_signed,
        step_aside=responder.step_aside,
        on_committed=publisher.wake,
    )
    await stack.enter_async_context(_answering(responder, dispatcher, shared.spans))
    keeping = keep_share(responder, shared.bus.client, identity, has_database)
    await stack.enter_async_context(background(keeping))
    return identity


def _checks(bus: Bus, pool: asyncpg.Pool) -> dict[str, HealthCheck]:
    return {
        "bus": bus_check(bus),
        "database": database_check(pool),
        "migrations": migration_check(pool),
    }


def _pool_sizes(settings: Settings, role: Role) -> dict[Role, int]:
    """Return the sizes of the pools for requests and for firing: neither may starve the other."""
    sizes = {Role.RESPONDER: settings.pool_size, Role.WORKER: settings.worker_pool_size}
    return sizes if role is Role.ALL else {role: sizes[role]}


@asynccontextmanager
async def _spans(settings: Settings) -> AsyncIterator[Spans | None]:
    """Give what makes spans, if they are wanted, and send the last of them at the end."""
    if not settings.tracing:
        yield None
        return
    try:
        spans = exported_spans(SERVICE_NAME)
    except TracingUnavailableError as error:
        raise CannotServeError(str(error)) from None
    try:
        yield spans
    finally:
        await asyncio.to_thread(spans.close)


def _runner_client(settings: Settings, bus: Bus, spans: Spans | None) -> RunnerClient:
    keys = key_ring(settings.runner_key_file)

    def key() -> Key:
        return signing_key(keys.current(), RUNNER_AUDIENCE)

    try:
        key()
    except InvalidKeySet as error:
        raise CannotServeError(f"{settings.runner_key_file}: {error}") from None
    return RunnerClient(bus.client, key, spans=spans)


async def _is_sharded(pool: asyncpg.Pool) -> bool:
    with using_database():
        async with acquired(pool) as connection:
            return await citus.is_distributed(connection)


def _responder(
    settings: Settings,
    metrics: Metrics,
    bus: Bus,
    identity: Identity,
    has_database: Callable[[], bool],
) -> Responder:
    operations = service_operations()
    responder = Responder(
        bus,
        identity,
        operations,
        responder_settings(settings),
        observe=_responder_observer(metrics),
        has_database=has_database,
    )
    metrics.inflight.labels("request").set_function(lambda: responder.running)
    metrics.inflight.labels("waiting").set_function(lambda: responder.waiting)
    metrics.expect_requests(
        [operation.op for operation in operations],
        [event.value for event in (*ResponderEvent, *MESSAGE_EVENTS)],
    )
    return responder


@asynccontextmanager
async def _answering(
    responder: Responder, dispatcher: Dispatcher, spans: Spans | None
) -> AsyncIterator[None]:
    """Answer requests within the context; at its end answer all that were accepted."""
    handle = dispatcher.handle if spans is None else spans.around(dispatcher.handle)
    try:
        await responder.start(handle, dispatcher.refuse, dispatcher.screen)
    except BusUnavailableError as error:
        raise CannotServeError(str(error)) from None
    try:
        yield
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
