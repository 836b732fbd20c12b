"""Requests of one operation that arrive while others run are run together, on one connection.

No timer: a request that finds a free lane begins at once, alone; under load, requests that
arrive while the lanes are busy become the next batch. A failure of one request never changes the
result of another.
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from logging import getLogger
from typing import Any

from msgspec import Struct

from contracts.context import LEEWAY_S, Claims
from contracts.deadline import deadline_passed
from contracts.errors import Code, ServiceError
from contracts.subjects import DEADLINE_HEADER
from service.flow_control.micro_batcher import MicroBatcher
from service.messages import Request
from service.operations.context import Call, OperationResult, OperationSpec, Policy
from service.storage.engine.connection import Connection
from service.storage.engine.errors import is_unavailable
from service.storage.engine.kept_connections import Connect

log = getLogger(__name__)

BATCH_SIZE = 32
"""Bounds what is in memory for a batch, and how long its members wait for each other."""
SMALLEST_SHARE = 8
LANES = 2
"""PostgreSQL works on one batch while the process does on the other. With a single lane each would
wait for the other; more lanes, or smaller batches, cost more than they gain.
"""
ANY_NODE = 0
"""Of a database that has but one."""
LANE_S = 0.1
"""A batch that takes longer gives up its lane, so that the next one need not wait for it."""
WAITED_TOO_LONG = "The request waited for too long; send it again"

NodeOf = Callable[[str], Awaitable[int]]
"""Returns the database node of a tenant's rows."""


class PendingRequest(Struct, frozen=True):
    """A verified and decoded request that waits to be run."""

    request: Request
    claims: Claims
    raw: dict[str, Any]
    operation: OperationSpec


class RequestBatcher:
    """Runs requests, in batches where their operation can.

    On a database of several nodes, those of one node: with ``node_of``. A transaction on two of
    them is committed in two phases, and waits for the slower one.
    """

    def __init__(
        self,
        connect: Connect,
        policy: Policy,
        *,
        node_of: NodeOf | None = None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._connect = connect
        self._policy = policy
        self._node_of = node_of
        self._wall_clock = wall_clock
        self._batchers: dict[
            tuple[str, str, int], MicroBatcher[PendingRequest, OperationResult | None]
        ] = {}

    async def answer(self, pending: PendingRequest) -> OperationResult:
        """Run a request, alone or with others; raises what its operation raises for it."""
        if pending.operation.run_batch is not None:
            tenant_id = pending.claims.tenant_id
            node: int | None = ANY_NODE
            if self._node_of is not None:
                # Where a context names no tenant, nothing says where its rows are.
                node = None if tenant_id is None else await self._node_of(tenant_id)
            if node is not None:
                result = await self._batcher(pending.request, node).add(pending)
                if result is not None:
                    return result
        check_deadline(pending, self._wall_clock())
        async with self._connect() as connection:
            return await pending.operation.run(self._call(connection, pending))

    def _batcher(
        self, request: Request, node: int
    ) -> MicroBatcher[PendingRequest, OperationResult | None]:
        key = request.audience, request.op, node
        batcher = self._batchers.get(key)
        if batcher is None:
            batcher = self._batchers[key] = MicroBatcher(
                self._run_batch,
                key=_batch_key,
                wait_s=0,
                size=BATCH_SIZE,
                least=SMALLEST_SHARE,
                lanes=LANES,
                lane_s=LANE_S,
            )
        return batcher

    def _call(self, connection: Connection, pending: PendingRequest) -> Call:
        output = pending.operation.output
        return Call(connection, output, pending.claims, pending.raw, self._policy)

    async def _run_batch(self, batch: Sequence[PendingRequest]) -> list[OperationResult | None]:
        """Run requests of one operation; None where one has to be run alone."""
        now = self._wall_clock()
        results = [_refusal(pending, now) for pending in batch]
        waiting = [index for index, result in enumerate(results) if result is None]
        run_batch = batch[0].operation.run_batch
        if not waiting or run_batch is None:
            return results
        outcomes: Sequence[OperationResult | None]
        try:
            async with self._connect() as connection:
                calls = [self._call(connection, batch[index]) for index in waiting]
                outcomes = await run_batch(calls)
        except Exception as error:  # noqa: BLE001 - it is raised to the callers, who wait for it
            # With the database away all end at once: they must not queue up for it one by one.
            failed = len(waiting) == 1 or is_unavailable(error)
            if not failed:
                log.warning("batch failed; running its %d requests singly: %r", len(waiting), error)
            outcomes = [OperationResult(error) if failed else None] * len(waiting)
        for index, outcome in zip(waiting, outcomes, strict=True):
            results[index] = outcome
        return results


def check_deadline(pending: PendingRequest, now: float) -> None:
    """Raise ServiceError UNAVAILABLE when the caller no longer waits; ``now`` in Unix seconds."""
    deadline = pending.request.headers.get(DEADLINE_HEADER)
    if pending.claims.exp + LEEWAY_S <= now or deadline_passed(deadline, now):
        raise ServiceError(Code.UNAVAILABLE, WAITED_TOO_LONG)


def _refusal(pending: PendingRequest, now: float) -> OperationResult | None:
    try:
        check_deadline(pending, now)
    except ServiceError as error:
        return OperationResult(error)
    return None


def _batch_key(pending: PendingRequest) -> object:
    """Return what no two requests of a batch share: the install for changes."""
    if not pending.operation.mutates:
        return id(pending)
    return pending.claims.install_id or pending.claims.jti
