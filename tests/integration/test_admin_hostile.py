"""Whatever an administrator sends, the answer is well-formed and no fault of ours."""

import random
from typing import Any
from uuid import uuid4

import asyncpg
import msgspec
import pytest

from contracts.admin import ADMIN_OPS
from contracts.errors import Code
from service.rules.limits import Limits
from tests.support.admin import Admin, operator, register
from tests.support.host import dispatcher, read
from tests.wire.samples_admin import ADMIN_SAMPLES

ODD: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    2**63,
    1e308,
    float("nan"),
    "",
    "\0",
    "x" * 5_000,
    "ü'\"; --",
    "9999-12-31T23:59:59.999999Z",
    "0001-01-01T00:00:00+14:00",
    "* * * * *",
    [],
    {},
    [[]],
    {"": None},
    b"\xff",
)


def mutated(value: Any, rng: random.Random, known: list[str]) -> Any:
    """Return the value with something in it replaced."""
    choice = rng.random()
    if choice < 0.25:
        return rng.choice(ODD)
    if choice < 0.4:
        return rng.choice(known)
    if isinstance(value, dict) and value:
        key = rng.choice(list(value))
        return {**value, key: mutated(value[key], rng, known)}
    if isinstance(value, list) and value:
        at = rng.randrange(len(value))
        return [*value[:at], mutated(value[at], rng, known), *value[at:]]
    return value


@pytest.mark.parametrize("op", sorted(ADMIN_OPS))
async def test_mutated_requests_are_answered(pool: asyncpg.Pool, op: str) -> None:
    served = dispatcher(pool, Limits(changes_per_minute=1_000, max_schedules=1_000))
    admin, rng = Admin(served), random.Random(op)
    rows = await register(admin, "1.0.0", "/a")
    created = await admin(
        "createSchedule", installId=rows["installId"], endpoint="/a", cron="0 * * * *"
    )
    known = ["tenant-1", created["scheduleId"], *list(rows.values())[1:], str(uuid4()), "/a"]
    sample = msgspec.to_builtins(ADMIN_SAMPLES[op][0])
    for number in range(60):
        body = mutated(sample, rng, known)
        for _ in range(rng.randrange(3)):
            body = mutated(body, rng, known)
        body = body if isinstance(body, dict) else {"installId": body}
        caller = operator(served) if number % 3 == 0 else admin
        try:
            msgspec.msgpack.encode(body)
        except (OverflowError, UnicodeEncodeError):
            continue
        answer = read(await caller.send(op, body))
        assert answer.get("code") not in {Code.INTERNAL, Code.UNAVAILABLE}, (body, answer)
        if "fieldErrors" in answer:
            assert answer["error"] == next(iter(answer["fieldErrors"].values())), answer
