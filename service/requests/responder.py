"""The NATS edge of the service: takes requests, answers or refuses them, stops without loss.

Knows nothing of what an operation does: that is ``handle``. The library runs one callback at a
time per subscription, so a callback only puts the request into the work queue, or refuses it.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractContextManager
from enum import StrEnum
from functools import partial
from logging import getLogger
from typing import Any

from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from contracts.deadline import deadline_passed
from contracts.errors import Code
from contracts.subjects import (
    DEADLINE_HEADER,
    ERROR_CODE_HEADER,
    ERROR_HEADER,
    SCHEDULER_QUEUE,
)
from service.bus import micro
from service.bus.connection import Bus, confirm_subscriptions
from service.bus.micro import Identity, Statistics
from service.flow_control.work_queue import WorkQueue, WorkQueueSettings
from service.messages import Handle, Refuse, Reply, Request, Screen, ServiceOperation, admit_all
from service.requests.arrival import Arrival, ServedEndpoint, arrival_of
from service.requests.settings import ResponderSettings

log = getLogger(__name__)

# What the library may buffer between its reader and a callback. A callback never waits, so this
# is reached only when the event loop is blocked; the library drops what is beyond.
PENDING_MESSAGES = 4096
PENDING_BYTES = 64 * 1024 * 1024
# The server closes the connection over a message larger than its limit, headers included.
HEADER_ALLOWANCE = 8 * 1024

_LINE_BREAKS = str.maketrans("\r\n", "  ")

QUEUE_FULL = "The service is busy, please try again"
CALLER_GONE = "The deadline of the request has passed"
WAITED_TOO_LONG = "The request waited for too long, please try again"
STOPPING = "The service is stopping, please try again"
FAULT = "The request could not be answered"
TOO_LARGE = "The answer is too large for the bus"


class ResponderEvent(StrEnum):
    """Events counted in addition to the requests; a closed set, so it can be a metric label."""

    NO_REPLY_SUBJECT = "no_reply_subject"
    REPLY_NOT_ALLOWED = "reply_not_allowed"
    QUEUE_FULL = "queue_full"
    DEADLINE_PASSED = "deadline_passed"
    WAITED_TOO_LONG = "waited_too_long"
    FAULT = "fault"
    CANCELLED = "cancelled"
    REPLY_NOT_SENT = "reply_not_sent"
    REPLY_TOO_LARGE = "reply_too_large"


ObserveEvent = Callable[[ResponderEvent], None]
Callback = Callable[[Msg], Coroutine[Any, Any, None]]


def ignore(_event: ResponderEvent) -> None:
    """Count nothing."""


class Responder:
    """Answers the operations on one connection; ``start`` it once, ``stop`` it once.

    The connection stays open after ``stop``: it is its opener's to close.
    """

    _handle: Handle
    _refuse: Refuse
    _screen: Screen

    def __init__(
        self,
        bus: Bus,
        identity: Identity,
        operations: Sequence[ServiceOperation],
        settings: ResponderSettings = ResponderSettings(),  # noqa: B008 - frozen
        *,
        observe: ObserveEvent = ignore,
        has_database: Callable[[], bool] = lambda: True,
    ) -> None:
        self.accepting = self.joined = False
        self._has_database = has_database
        self._bus = bus
        self._identity = identity
        self._endpoints = [ServedEndpoint(operation, Statistics()) for operation in operations]
        self._settings = settings
        self._observe = observe
        self._queue = WorkQueue(
            self._answer,
            WorkQueueSettings(settings.concurrency, settings.waiting, settings.waiting_bytes),
        )
        self._operation_subscriptions: list[Subscription] = []
        self._discovery_subscriptions: list[Subscription] = []

    @property
    def running(self) -> int:
        """Return how many requests are being handled."""
        return self._queue.running

    @property
    def waiting(self) -> int:
        """Return how many requests are accepted, but not yet begun."""
        return self._queue.waiting

    def step_aside(self, size: int) -> AbstractContextManager[None]:
        """Let another request run while the current one, of ``size`` bytes, waits for its turn."""
        return self._queue.step_aside(size)

    async def start(self, handle: Handle, refuse: Refuse, screen: Screen = admit_all) -> None:
        """Subscribe, and return when the server has confirmed it.

        ``screen`` is asked as a message arrives: what it refuses never waits. ``handle`` is
        expected to answer its own failures; what it raises nevertheless is logged and answered by
        ``refuse``. Raises SubscriptionsDeniedError when the user lacks a permission.
        """
        self._handle, self._refuse, self._screen = handle, refuse, screen
        client = self._bus.client
        for verb, build in self._discovery().items():
            for subject in micro.subjects(self._identity, verb):
                subscription = await client.subscribe(subject, cb=self._discoverer(build))
                self._discovery_subscriptions.append(subscription)
        await self.rejoin()
        self.accepting = True

    async def leave(self) -> None:
        """Leave the queue group, so that the others get all requests; answer what has come."""
        self.joined = False
        await self._bus.drain(self._operation_subscriptions)
        self._operation_subscriptions = []
        log.warning("left the queue group")

    async def rejoin(self) -> None:
        """Subscribe to every operation, and return when the server has confirmed it.

        Raises SubscriptionsDeniedError when the user lacks a permission.
        """
        await self._bus.drain(self._operation_subscriptions)  # of an earlier try
        self._operation_subscriptions = []
        for endpoint in self._endpoints:
            subscription = await self._bus.client.subscribe(
                endpoint.operation.subject,
                queue=SCHEDULER_QUEUE,
                cb=partial(self._receive, endpoint),
                pending_msgs_limit=PENDING_MESSAGES,
                pending_bytes_limit=PENDING_BYTES,
            )
            self._operation_subscriptions.append(subscription)
        await confirm_subscriptions(self._bus)
        self.joined = True

    async def stop(self) -> None:
        """Accept no more, answer everything accepted, then leave discovery; lose no request.

        What is unanswered after ``drain_timeout_s`` is cancelled and refused.
        """
        self.accepting = False
        await self._bus.drain(self._operation_subscriptions)
        for arrival in await self._queue.finish(self._settings.drain_timeout_s):
            await self._turn_away(arrival, STOPPING)
        await self._bus.drain(self._discovery_subscriptions)
        await self._bus.flush()

    async def _receive(self, endpoint: ServedEndpoint, message: Msg) -> None:
        if not self._may_answer(message.reply):
            self._drop(message.reply)
            return
        arrival = arrival_of(endpoint, message.reply, message.headers, message.data)
        refusal = self._screened(arrival.request)
        if refusal is not None:
            endpoint.statistics.count(0, refusal.error)
            await self._send(arrival, refusal)
        elif not self._queue.put(arrival, len(message.data)):
            self._observe(ResponderEvent.QUEUE_FULL)
            await self._turn_away(arrival, QUEUE_FULL)

    def _may_answer(self, reply_to: str) -> bool:
        prefixes = self._settings.reply_prefixes
        return reply_to.startswith(prefixes) and "*" not in reply_to and ">" not in reply_to

    def _drop(self, reply_to: str) -> None:
        event = ResponderEvent.REPLY_NOT_ALLOWED if reply_to else ResponderEvent.NO_REPLY_SUBJECT
        self._observe(event)
        log.debug("message dropped: %s", event, extra={"reply_to": reply_to})

    async def _answer(self, arrival: Arrival) -> None:
        if deadline_passed(arrival.request.headers.get(DEADLINE_HEADER), time.time()):
            self._observe(ResponderEvent.DEADLINE_PASSED)
            await self._turn_away(arrival, CALLER_GONE)
            return
        if time.monotonic() - arrival.at > self._settings.max_wait_s:
            self._observe(ResponderEvent.WAITED_TOO_LONG)
            await self._turn_away(arrival, WAITED_TOO_LONG)
            return
        began = time.perf_counter_ns()
        try:
            reply = await self._handle(arrival.request)
        except asyncio.CancelledError as error:
            if _is_cancelled():
                self._observe(ResponderEvent.CANCELLED)
                await self._turn_away(arrival, STOPPING)
                raise
            reply = self._fault(arrival.request, "handler was cancelled from within", error)
        except Exception as error:  # noqa: BLE001 - logged by _fault
            reply = self._fault(arrival.request, "fault in the handler", error)
        reply = self._fitting(arrival, reply)
        arrival.endpoint.statistics.count(time.perf_counter_ns() - began, reply.error)
        await self._send(arrival, reply)

    def _screened(self, request: Request) -> Reply | None:
        try:
            return self._screen(request)
        except Exception as error:  # noqa: BLE001 - logged by _fault
            return self._fault(request, "fault at the door", error)

    def _fault(self, request: Request, what: str, error: BaseException) -> Reply:
        """Log a fault, and return the refusal for it."""
        log.error(what, exc_info=error, extra={"op": request.op})
        self._observe(ResponderEvent.FAULT)
        return self._refusal(request, Code.INTERNAL, FAULT)

    async def _turn_away(self, arrival: Arrival, why: str) -> None:
        reply = self._refusal(arrival.request, Code.UNAVAILABLE, why)
        arrival.endpoint.statistics.count(0, reply.error)
        await self._send(arrival, reply)

    def _refusal(self, request: Request, code: Code, why: str) -> Reply:
        try:
            return self._refuse(request, code, why)
        except Exception:
            log.exception("fault in the refusal", extra={"op": request.op})
            return Reply(headers={}, body=b"", error=(500, FAULT))

    def _fitting(self, arrival: Arrival, reply: Reply) -> Reply:
        if len(reply.body) + HEADER_ALLOWANCE <= self._bus.client.max_payload:
            return reply
        log.error("answer of %d bytes is too large for the bus", len(reply.body))
        self._observe(ResponderEvent.REPLY_TOO_LARGE)
        # Not UNAVAILABLE: the answer to a repeated request would be as large.
        return self._refusal(arrival.request, Code.INTERNAL, TOO_LARGE)

    async def _send(self, arrival: Arrival, reply: Reply) -> None:
        headers = reply.headers
        if reply.error is not None:
            number, text = reply.error
            line = text.strip().translate(_LINE_BREAKS)
            headers = {**headers, ERROR_HEADER: line, ERROR_CODE_HEADER: str(number)}
        if not await self._bus.send(arrival.reply_to, reply.body, headers):
            self._observe(ResponderEvent.REPLY_NOT_SENT)

    def _is_whole(self) -> bool:
        return self.joined and self.accepting and self._has_database()

    def _discovery(self) -> dict[str, Callable[[], bytes]]:
        identity, queue = self._identity, SCHEDULER_QUEUE
        operations = [endpoint.operation for endpoint in self._endpoints]
        counted = {endpoint.operation.subject: endpoint.statistics for endpoint in self._endpoints}
        info = micro.info(identity, operations, queue)
        return {
            "PING": lambda: micro.ping(
                identity,
                has_database=self._is_whole(),
                running=self.running,
                waiting=self.waiting,
                concurrency=self._settings.concurrency,
            ),
            "INFO": lambda: info,
            "STATS": lambda: micro.stats(identity, operations, queue, counted),
        }

    def _discoverer(self, build: Callable[[], bytes]) -> Callback:
        async def discover(message: Msg) -> None:
            if self._may_answer(message.reply):
                await self._bus.send(message.reply, build(), None)
            else:
                self._drop(message.reply)

        return discover


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
