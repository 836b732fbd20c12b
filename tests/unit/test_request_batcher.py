"""Requests answered together: what concerns one of them decides nothing about the others."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from msgspec import Struct

from contracts.context import Claims
from contracts.errors import Code, ServiceError
from contracts.subjects import DEADLINE_HEADER, HOST_AUDIENCE
from service.messages import Request
from service.operations.context import Answer, Call, OperationResult, OperationSpec, Policy
from service.requests.batcher import NodeOf, PendingRequest, RequestBatcher
from service.rules.limits import Limits
from service.storage.engine.connection import Connection
from tests.support.eventually import eventually

SENT, LATE = 1_000, 1_030


class Said(Struct, frozen=True):
    """An answer: what was asked, and whether it was asked alone."""

    word: str
    alone: bool


class Desk:
    """Answers words, notes how, and does to some of them what their name says."""

    def __init__(self, *, mutates: bool = True, node_of: NodeOf | None = None) -> None:
        self.batcher = RequestBatcher(
            self.connect,
            Policy(limits=Limits()),
            node_of=node_of,
            wall_clock=lambda: LATE if self.gate.is_set() else SENT,
        )
        self.operation = OperationSpec(self.run, Said, mutates=mutates, run_batch=self.run_batch)
        self.sizes: list[int] = []
        self.batches: list[list[str]] = []
        self.alone: list[str] = []
        self.connections = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.fault: Exception | None = None
        self.away: Exception | None = None

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Connection]:
        self.connections += 1
        if self.away is not None:
            raise self.away
        yield cast("Connection", object())

    async def run(self, call: Call) -> OperationResult:
        word = call.raw["word"]
        self.alone.append(word)
        await self.gate.wait()
        if word == "refused":
            raise ServiceError(Code.DENIED, "alone")
        return OperationResult(Said(word, alone=True))

    async def run_batch(self, calls: Sequence[Call]) -> Sequence[OperationResult | None]:
        assert len({id(call.connection) for call in calls}) == 1
        if len(calls) == 1:
            return [await self.run(calls[0])]
        self.sizes.append(len(calls))
        self.batches.append([call.raw["word"] for call in calls])
        await self.gate.wait()
        if self.fault is not None:
            raise self.fault
        return [self._one(call.raw["word"]) for call in calls]

    def _one(self, word: str) -> OperationResult | None:
        if word == "refused":
            return OperationResult(ServiceError(Code.DENIED, "together"))
        return None if word == "difficult" else OperationResult(Said(word, alone=False))

    async def ask(
        self,
        word: str,
        install: UUID | None = None,
        *,
        gone: bool = False,
        tenant_id: str | None = None,
    ) -> Answer:
        pending = _pending(self.operation, word, install, gone=gone, tenant_id=tenant_id)
        result = await self.batcher.answer(pending)
        if isinstance(result.outcome, Exception):
            raise result.outcome
        return result.outcome

    async def ask_all(self, *words: str) -> list[Answer | BaseException]:
        return await asyncio.gather(*(self.ask(word) for word in words), return_exceptions=True)

    @asynccontextmanager
    async def busy(self) -> AsyncIterator[None]:
        """Keep both lanes busy within the context, so that what is asked meanwhile waits."""
        self.gate.clear()
        first = asyncio.create_task(self.ask("first"))
        await eventually(lambda: self.alone == ["first"])
        second = asyncio.create_task(self.ask("second"))
        await eventually(lambda: self.alone == ["first", "second"])
        yield
        self.gate.set()
        assert [await first, await second] == [Said("first", True), Said("second", True)]


def _pending(
    operation: OperationSpec,
    word: str,
    install: UUID | None,
    *,
    gone: bool,
    tenant_id: str | None,
) -> PendingRequest:
    """Return a request for a word; its caller waits until ``SENT``, or for ever."""
    headers = {DEADLINE_HEADER: str(SENT * 1000 + 1)} if gone else {}
    request = Request("ext.scheduler.say", "say", HOST_AUDIENCE, headers, b"", SENT)
    claims = Claims(
        iss="runner",
        aud=HOST_AUDIENCE,
        iat=SENT,
        exp=LATE,
        jti=uuid4(),
        op="say",
        body_sha256="",
        install_id=install or uuid4(),
        tenant_id=tenant_id,
    )
    return PendingRequest(request, claims, {"word": word}, operation)


async def test_a_single_request_is_executed_at_once() -> None:
    desk = Desk()
    assert await desk.ask("a") == Said("a", alone=True)
    assert desk.sizes == []


async def test_concurrent_requests_share_a_batch_and_get_their_own_answers() -> None:
    desk = Desk()
    words = [str(n) for n in range(20)]
    assert await desk.ask_all(*words) == [Said(word, alone=False) for word in words]
    assert (desk.sizes, desk.connections) == ([10, 10], 2)


async def test_requests_arriving_during_a_batch_form_the_next() -> None:
    desk = Desk()
    async with desk.busy():
        asked = [asyncio.create_task(desk.ask(word)) for word in "abc"]
    assert [await task for task in asked] == [Said(word, alone=False) for word in "abc"]
    assert desk.sizes == [3]


async def test_a_failing_or_slow_request_does_not_affect_its_batch() -> None:
    desk = Desk()
    a, refused, difficult, b = await desk.ask_all("a", "refused", "difficult", "b")
    assert (a, b) == (Said("a", alone=False), Said("b", alone=False))
    assert isinstance(refused, ServiceError)
    assert str(refused.message) == "together"
    assert difficult == Said("difficult", alone=True)
    assert desk.alone == ["difficult"]


async def test_slow_requests_do_not_block_their_lane() -> None:
    desk = Desk()
    desk.gate.clear()
    asked = asyncio.gather(*(desk.ask("difficult") for _ in range(3)))
    await eventually(lambda: desk.sizes == [3])
    desk.gate.set()
    await eventually(lambda: desk.alone == ["difficult"] * 3)
    assert await asked == [Said("difficult", alone=True)] * 3
    assert desk.connections == 4


async def test_batch_that_fails_is_answered_one_by_one() -> None:
    desk = Desk()
    desk.fault = ValueError("about one of them")
    a, refused, b = await desk.ask_all("a", "refused", "b")
    assert (a, b) == (Said("a", alone=True), Said("b", alone=True))
    assert isinstance(refused, ServiceError)
    assert refused.message == "alone"


@pytest.mark.parametrize("where", ["fault", "away"])
async def test_a_missing_database_fails_every_request_of_the_batch(where: str) -> None:
    desk = Desk()
    error = ConnectionError("away")
    setattr(desk, where, error)
    assert await desk.ask_all("a", "b", "c") == [error] * 3
    assert (desk.alone, desk.connections) == ([], 1)


async def test_error_of_a_single_request_reaches_its_caller() -> None:
    desk = Desk()
    with pytest.raises(ServiceError, match="alone"):
        await desk.ask("refused")
    assert await desk.ask("a") == Said("a", alone=True)


async def test_cancelled_caller_does_not_affect_its_batch() -> None:
    desk = Desk()
    desk.gate.clear()
    tasks = [asyncio.create_task(desk.ask(word)) for word in "abc"]
    await eventually(lambda: desk.sizes == [3])
    tasks[1].cancel()
    with pytest.raises(asyncio.CancelledError):
        await tasks[1]
    desk.gate.set()
    assert [await tasks[0], await tasks[2]] == [Said("a", False), Said("c", False)]


async def test_request_that_timed_out_before_its_batch_is_not_executed() -> None:
    desk = Desk()
    async with desk.busy():
        late = asyncio.create_task(desk.ask("late", gone=True))
        others = [asyncio.create_task(desk.ask(word)) for word in "ab"]
    assert [await task for task in others] == [Said("a", False), Said("b", False)]
    with pytest.raises(ServiceError, match="waited for too long"):
        await late
    assert desk.sizes == [2]
    assert "late" not in desk.alone


async def test_batch_of_timed_out_requests_takes_no_connection() -> None:
    desk = Desk()
    async with desk.busy():
        late = [asyncio.create_task(desk.ask("late", gone=True)) for _ in range(2)]
    results = await asyncio.gather(*late, return_exceptions=True)
    assert all(isinstance(result, ServiceError) for result in results)
    assert desk.connections == 2


async def test_two_changes_of_one_install_never_share_a_batch() -> None:
    desk = Desk()
    install = uuid4()
    answers = await asyncio.gather(
        desk.ask("a", install), desk.ask("b", install), desk.ask("c"), desk.ask("d")
    )
    assert list(answers) == [Said("a", False), Said("b", True), Said("c", False), Said("d", False)]
    assert desk.sizes == [3]


async def test_reads_of_one_install_may_share_a_batch() -> None:
    desk = Desk(mutates=False)
    install = uuid4()
    answers = await asyncio.gather(*(desk.ask(word, install) for word in "ab"))
    assert answers == [Said("a", False), Said("b", False)]
    assert desk.sizes == [2]


async def test_stuck_batches_do_not_block_the_next() -> None:
    desk = Desk()
    async with desk.busy():
        waiting = asyncio.gather(*(desk.ask(word) for word in "abc"))
        # Both lanes are stuck for good here, and still the next batch begins.
        await eventually(lambda: desk.sizes == [3])
    assert await waiting == [Said(word, alone=False) for word in "abc"]


async def test_no_batch_is_built_of_an_operation_that_has_none() -> None:
    desk = Desk()
    desk.operation = OperationSpec(desk.run, Said, mutates=False)
    answers: list[Any] = await desk.ask_all(*"abc")
    assert answers == [Said(word, alone=True) for word in "abc"]
    assert (desk.sizes, desk.connections) == ([], 3)


async def test_on_several_nodes_the_requests_of_one_node_form_a_batch() -> None:
    async def node_of(tenant_id: str) -> int:
        return int(tenant_id[-1]) % 2

    desk = Desk(node_of=node_of)
    words = [f"tenant-{n % 4}" for n in range(20)]
    answers = await asyncio.gather(*(desk.ask(word, tenant_id=word) for word in words))
    assert answers == [Said(word, alone=False) for word in words]
    assert [len({int(word[-1]) % 2 for word in batch}) for batch in desk.batches] == [1] * 4
    assert sorted(desk.sizes) == [2, 2, 8, 8]


async def test_on_several_nodes_a_request_without_a_tenant_is_run_alone() -> None:
    async def node_of(_tenant_id: str) -> int:
        return 1

    desk = Desk(node_of=node_of)
    answers = await asyncio.gather(*(desk.ask(word) for word in "abc"))
    assert answers == [Said(word, alone=True) for word in "abc"]
    assert desk.sizes == []
