"""Signatures are checked by a process of their own, and by nobody else's word when it fails."""

import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest
from msgspec import Struct, structs

from contracts.context import UncheckedToken, read_token
from service.requests.dispatcher import CHANGE_WEIGHT
from service.requests.signature_checker import (
    SMALLEST_BATCH,
    SignatureChecker,
    signature_checker,
)
from service.runtime.resources import background
from tests.support.eventually import eventually
from tests.support.platform import install
from tests.support.responders import Process, clients, host, responders
from tests.support.tokens import GOOD, KEYS, token

ANSWER_S = 0.2
MODULE = "service.requests.signature_process"


class Checks(Struct):
    """A checker of tokens whose checks in this process are counted."""

    checker: SignatureChecker
    here: int = 0

    def tokens(self, count: int, by: str = "ed") -> list[UncheckedToken]:
        read = read_token(token(GOOD, by), KEYS)

        def check(message: bytes, signature: bytes) -> bool:
            self.here += 1
            return read.key.check(message, signature)

        return [structs.replace(read, key=structs.replace(read.key, check=check))] * count

    async def ask(self, tokens: Sequence[UncheckedToken]) -> list[bool]:
        return await asyncio.gather(*map(self.checker.is_signed, tokens))

    async def are_right(self, count: int = SMALLEST_BATCH) -> bool:
        return all(await self.ask(self.tokens(count)))

    async def use_the_process(self) -> bool:
        """Return whether the process does what it can be asked for."""
        self.here = 0
        return await self.are_right() and self.here == 0


@asynccontextmanager
async def checking(
    *command: str, answer_s: float = 60.0, until_used: bool = True
) -> AsyncIterator[Checks]:
    checker = SignatureChecker(command, answer_s=answer_s) if command else SignatureChecker()
    checks = Checks(checker)
    async with background(checker.run()):
        if until_used:
            await eventually(checks.use_the_process)
        yield checks


def process(parent: int | None = None) -> psutil.Process:
    """Return the one process of a parent, this process unless stated, that checks signatures."""
    found = processes(parent)
    assert len(found) == 1
    return found[0]


def processes(parent: int | None = None) -> list[psutil.Process]:
    found = []
    for child in psutil.Process(parent).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if MODULE in child.cmdline():
                found.append(child)
    return found


def double(body: str) -> tuple[str, ...]:
    """Return the command of a process that reads the first batch, and then does as in ``body``."""
    start = "import os, sys, time; sys.stdin.buffer.read(4); write = sys.stdout.buffer.write; "
    return sys.executable, "-c", start + body + "; sys.stdout.flush(); time.sleep(600)"


def frame(body: bytes) -> str:
    return f"write({len(body).to_bytes(4) + body!r})"


async def test_signatures_of_many_are_checked_by_the_process_alone() -> None:
    async with checking() as checks:
        checks.here = 0
        assert await checks.are_right(64)
        assert checks.here == 0


async def test_a_wrong_signature_is_refused_and_those_beside_it_are_not() -> None:
    async with checking() as checks:
        tokens = checks.tokens(SMALLEST_BATCH)
        forged = structs.replace(tokens[0], message=tokens[0].message + b"A")
        short = structs.replace(tokens[0], signature=tokens[0].signature[:-1])
        checks.here = 0
        assert await checks.ask([*tokens, forged, short]) == [*[True] * len(tokens), False, False]
        assert checks.here == 2, "a refusal is this process' own"


async def test_a_lone_signature_and_a_secret_are_checked_here() -> None:
    async with checking() as checks:
        checks.here = 0
        assert await checks.are_right(1)
        assert all(await checks.ask(checks.tokens(SMALLEST_BATCH, by="hs")))
        assert checks.here == 1 + SMALLEST_BATCH


async def test_changes_are_sent_from_fewer_on() -> None:
    async with checking() as checks:
        checks.here = 0
        tokens = checks.tokens(SMALLEST_BATCH // CHANGE_WEIGHT)
        assert all(
            await asyncio.gather(
                *(checks.checker.is_signed(each, CHANGE_WEIGHT) for each in tokens)
            )
        )
        assert checks.here == 0
        assert all(await checks.ask(tokens))
        assert checks.here == len(tokens), "as many reads are checked here"


async def test_a_few_signatures_start_no_process() -> None:
    async with checking(until_used=False) as checks:
        assert await checks.are_right(SMALLEST_BATCH - 1)
        assert processes() == []


async def test_responders_that_fill_the_processors_start_no_process() -> None:
    async with signature_checker(processes=10_000) as checker:
        checks = Checks(checker)
        for _ in range(3):
            assert await checks.are_right()
        assert checks.here == 3 * SMALLEST_BATCH
        assert processes() == []


async def test_a_process_killed_in_the_middle_of_a_batch_refuses_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with checking() as checks:
        first = process()
        first.suspend()
        asked = asyncio.create_task(checks.are_right(64))
        await asyncio.sleep(0)
        first.kill()
        assert await asked
        await eventually(checks.use_the_process)
        assert process().pid != first.pid
    assert "signature process ended, starting another" in caplog.text


async def test_a_frozen_process_is_not_waited_for_and_replaced(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with checking(answer_s=ANSWER_S) as checks:
        first = process()
        first.suspend()
        assert await checks.are_right(64)
        await eventually(checks.use_the_process)
        assert process().pid != first.pid
    assert "signature process does not answer, and is killed" in caplog.text


@pytest.mark.parametrize(
    "answers",
    [
        frame(b"\x92\x01\x90"),  # no verdicts
        frame(b"\x92\x07\x9c" + b"\xc3" * SMALLEST_BATCH),  # of a batch that nobody sent
        frame(b"\x92\x01\x9c" + b"\x01" * SMALLEST_BATCH),  # numbers
        frame(b"\x92\x01\x9d" + b"\xc3" * (SMALLEST_BATCH + 1)),  # one too many
        frame(b"nonsense"),
        "write(bytes(range(255)) * 100)",
        "write(b'HTTP/1.1 200 OK')",
    ],
)
async def test_what_is_no_answer_confirms_nothing(
    answers: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with checking(*double(answers), until_used=False) as checks:
        forged = [structs.replace(each, message=b"other") for each in checks.tokens(SMALLEST_BATCH)]

        async def is_replaced() -> bool:
            assert not any(await checks.ask(forged))
            assert await checks.are_right()
            return "answers what is no answer" in caplog.text

        await eventually(is_replaced)


async def test_a_process_that_finds_everything_wrong_refuses_nobody() -> None:
    wrong = frame(b"\x92\x01\x9c" + b"\xc2" * SMALLEST_BATCH)
    async with checking(*double(wrong), until_used=False) as checks:
        for _ in range(3):
            assert await checks.are_right()


@pytest.mark.parametrize("pipe", [0, 1])
async def test_a_process_that_closes_a_pipe_is_replaced(
    pipe: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with checking(*double(f"os.close({pipe})"), until_used=False) as checks:

        async def is_replaced() -> bool:
            assert await checks.are_right()
            return "signature process ended, starting another" in caplog.text

        await eventually(is_replaced)


@pytest.mark.parametrize("command", ["/no/such/program", "/bin/false"])
async def test_without_a_process_all_is_checked_here_and_tries_become_rarer(
    command: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with checking(command, until_used=False) as checks:
        for tries in (1, 2):

            async def tried(tries: int = tries) -> bool:
                assert await checks.are_right()
                return caplog.text.count("signature process ended") >= tries

            await eventually(tried)
        lines = [line for line in caplog.records if "ended, starting" in line.getMessage()]
        assert [line.__dict__["fields"]["delay_s"] for line in lines[:2]] == [1.0, 2.0]
        assert checks.here > 0


async def test_signals_to_a_group_do_not_end_the_process() -> None:
    async with checking() as checks:
        first = process()
        for number in (signal.SIGINT, signal.SIGTERM):
            first.send_signal(number)
        assert await checks.use_the_process()
        assert process().pid == first.pid


async def test_the_process_ends_with_the_checker(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with checking() as checks:
        first = process()
    assert not first.is_running()
    assert await checks.are_right(), "what comes later is checked here"
    assert "ended" not in caplog.text


async def test_the_process_knows_no_setting_of_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXT_SCHEDULER_DATABASE_URL", "postgresql://secret")
    async with checking():
        environment = process().environ()
        connections = process().net_connections("inet")
    assert not [name for name in environment if name.startswith("EXT_SCHEDULER_")]
    assert connections == []


async def test_a_responder_answers_all_while_its_process_is_killed(
    pool: asyncpg.Pool, database: str, nats_url: str, tmp_path: Path
) -> None:
    installed = await install(pool)
    async with (
        responders(1, tmp_path, database, nats_url, log_level="info") as (responder,),
        clients(nats_url) as (client,),
    ):
        caller, pid = host(client, installed), responder.popen.pid

        async def list_all() -> None:
            await asyncio.gather(*(caller.list() for _ in range(64)))

        async def killed() -> bool:
            asked = asyncio.create_task(list_all())
            for each in processes(pid):
                each.suspend()  # in the middle of whatever it does
                each.kill()
            await asked
            return "starting another" in responder.log.read_text()

        await eventually(killed)

        async def works_again() -> psutil.Process:
            await list_all()
            return process(pid)

        last = await eventually(works_again)
        assert await responder.stop() == 0
        assert not last.is_running()
        outcomes = [line["outcome"] for line in lines(responder) if line["message"] == "request"]
        assert len(outcomes) >= 64
        assert set(outcomes) == {"ok"}


def lines(responder: Process) -> list[dict[str, Any]]:
    return [json.loads(line) for line in responder.log.read_text().splitlines()]


async def test_the_process_ends_when_its_parent_is_killed(
    pool: asyncpg.Pool, database: str, nats_url: str, tmp_path: Path
) -> None:
    installed = await install(pool)
    async with (
        responders(1, tmp_path, database, nats_url) as (responder,),
        clients(nats_url) as (client,),
    ):
        caller = host(client, installed)

        async def started() -> psutil.Process:
            await asyncio.gather(*(caller.list() for _ in range(64)))
            return process(responder.popen.pid)

        child = await eventually(started)
        os.kill(responder.popen.pid, signal.SIGKILL)
        await eventually(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)
