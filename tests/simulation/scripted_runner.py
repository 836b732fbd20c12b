"""A Runner on the real bus whose answers are scripted: by run and attempt, from the seed alone.

It stands for bridge and Runner together: a request past its deadline is refused, as the bridge
does. Each answer's status names the attempt that it is for.
"""

import random
import zlib
from collections.abc import Callable
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

import msgspec
from msgspec import Struct
from nats.aio.client import Client
from nats.aio.msg import Msg

from contracts.subjects import (
    DEADLINE_HEADER,
    ERROR_HEADER,
    EXECUTE_SUBJECT,
    IDEMPOTENCY_HEADER,
    RUNNER_QUEUE,
)
from tests.simulation.process import Process, answer_to
from tests.simulation.simulated_clock import SimulatedClock
from tests.simulation.turns import Turns

WORKER_WAITS = timedelta(seconds=36)
GARBAGE = b"\xff not JSON"
TOO_LATE = "the request came after its deadline"


class AnswerKind(StrEnum):
    """What the script says about a call."""

    OK = "success"
    FAILED = "failure that is tried again"
    REFUSED = "failure that is final"
    GARBAGE = "answer that cannot be read"
    LOST = "answer lost"
    TWICE = "answer sent twice, the second one a failure"


ANSWERS = {
    AnswerKind.OK: 88,
    AnswerKind.FAILED: 6,
    AnswerKind.REFUSED: 2,
    AnswerKind.GARBAGE: 1,
    AnswerKind.LOST: 1,
    AnswerKind.TWICE: 2,
}
"""How many of a hundred attempts are answered so."""
SLOW_SHARE = 0.04
SLOW_S = (1, 28)
"""How long the slow ones of the attempts take, at least and at most."""


class ScriptedAnswer(Struct, frozen=True):
    """What a call is answered, and how long that takes."""

    kind: AnswerKind
    delay: timedelta
    status: int | None
    """What the run record has to say, None where there is no readable answer."""


class CallRecord(Struct):
    """A call as the Runner saw it; ``began`` and ``ended`` order all that the Runner saw."""

    key: UUID
    schedule_id: UUID
    slot: datetime
    attempt: int
    at: datetime
    began: int
    answer: ScriptedAnswer
    due: datetime
    process: Process | None
    active: bool
    in_time: bool = True
    ended: int | None = None


def scripted(seed: int, number: int, slot: datetime, attempt: int) -> ScriptedAnswer:
    """Return the answer to an attempt at a slot of the schedule that was made as ``number``."""
    chance = random.Random(zlib.crc32(f"{seed}:{number}:{slot.timestamp():.0f}:{attempt}".encode()))
    [kind] = chance.choices(list(ANSWERS), list(ANSWERS.values()))
    delay = timedelta(seconds=chance.uniform(*SLOW_S) if chance.random() < SLOW_SHARE else 0)
    status = {
        AnswerKind.OK: 200 + attempt,
        AnswerKind.TWICE: 200 + attempt,
        AnswerKind.FAILED: 500 + attempt,
        AnswerKind.REFUSED: 440 + attempt,
    }.get(kind)
    return ScriptedAnswer(kind, delay, status)


class ScriptedRunner:
    """Records calls, and sends the answers that are due, in an order of its own."""

    def __init__(
        self,
        client: Client,
        clock: SimulatedClock,
        seed: int,
        senders: dict[str, Process],
        is_active: Callable[[UUID, UUID, int], bool],
        number: Callable[[UUID], int],
        turns: Turns,
    ) -> None:
        self.calls: list[CallRecord] = []
        self._client = client
        self._clock = clock
        self._seed = seed
        self._senders = senders
        self._is_active = is_active
        self._number = number
        self._turns = turns
        self._order = 0
        self._random = random.Random(seed)
        self._waiting: dict[str, CallRecord] = {}

    async def start(self) -> None:
        """Begin to listen."""
        await self._client.subscribe(EXECUTE_SUBJECT, queue=RUNNER_QUEUE, cb=self._receive)
        await self._client.flush()

    async def _receive(self, message: Msg) -> None:
        headers, now = message.headers or {}, self._clock.now
        document = msgspec.json.decode(message.data)["context"]
        key, attempt = UUID(headers[IDEMPOTENCY_HEADER]), int(document["attempt"])
        schedule_id = UUID(document["schedule_id"])
        slot = datetime.fromisoformat(document["scheduled_for"])
        answer = scripted(self._seed, self._number(schedule_id), slot, attempt)
        self._order += 1
        call = CallRecord(
            key=key,
            schedule_id=schedule_id,
            slot=slot,
            attempt=attempt,
            at=now,
            began=self._order,
            answer=answer,
            due=now + answer.delay,
            process=self._senders.pop(message.reply, None),
            active=self._is_active(schedule_id, key, attempt),
        )
        self.calls.append(call)
        if now.timestamp() * 1000 > int(headers[DEADLINE_HEADER]):
            call.in_time, call.ended = False, self._order
            await self._answer(call, message.reply, b"", {ERROR_HEADER: TOO_LATE})
        else:
            self._waiting[message.reply] = call
        self._turns.arrived(message.reply)

    async def _answer(
        self, call: CallRecord, reply: str, body: bytes, headers: dict[str, str] | None = None
    ) -> None:
        if call.process is not None and not call.process.dead:
            self._turns.expect(answer_to(reply))
        await self._client.publish(reply, body, headers=headers)

    def waiting(self, process: Process) -> int:
        """Return how many calls of a process it still waits for."""
        return sum(call.process is process for call in self._waiting.values())

    def finish_all(self) -> None:
        """Have all executions done by now."""
        for call in self._waiting.values():
            call.due = min(call.due, self._clock.now)
            if call.ended is None:
                self._order += 1
                call.ended = self._order

    def next_due(self) -> datetime | None:
        """Return when the next answer is due, or the next worker stops waiting."""
        return min((self._settled_at(call) for call in self._waiting.values()), default=None)

    def _settled_at(self, call: CallRecord) -> datetime:
        lost = call.answer.kind is AnswerKind.LOST
        return call.at + WORKER_WAITS if lost else call.due

    async def send_due(self) -> None:
        """Send the answers that are due, shuffled."""
        now = self._clock.now
        for call in self._waiting.values():
            if call.ended is None and call.due <= now:
                self._order += 1
                call.ended = self._order  # the extension is done, whoever hears of it
        due = [
            (reply, call) for reply, call in self._waiting.items() if self._settled_at(call) <= now
        ]
        self._random.shuffle(due)
        for reply, call in due:
            del self._waiting[reply]
            if call.answer.kind is AnswerKind.LOST:
                continue
            body = GARBAGE
            if call.answer.status is not None:
                body = b'{"status":%d,"headers":{}}' % call.answer.status
            await self._answer(call, reply, body)
            if call.answer.kind is AnswerKind.TWICE:
                await self._answer(call, reply, b'{"status":599,"headers":{}}')
