"""Checks of Ed25519 signatures, most of them in a process of its own.

The mathematics of one signature is half of what all else of a request costs, and a thread would
take the interpreter's lock back for each. So the signatures of requests that arrive together go to
a process that only does these checks. Nothing depends on it: what it does not confirm, in time, is
checked here.
"""

import asyncio
import os
import sys
from asyncio import SubprocessProtocol, SubprocessTransport, WriteTransport
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from logging import getLogger
from time import monotonic
from typing import cast

import msgspec

from contracts.context import UncheckedToken
from service.requests.signature_process import (
    LENGTH_BYTES,
    SignatureBatch,
    SignatureVerdicts,
    frame,
)
from service.runtime.cpus import usable_cpus
from service.runtime.logs import fields
from service.runtime.resources import background
from service.runtime.settings_sources import PREFIX

log = getLogger(__name__)

COMMAND = (sys.executable, "-P", "-m", "service.requests.signature_process")
SMALLEST_BATCH = 12
"""Signatures of fewer reads, or of half as many changes, are checked here. With few callers, one
more to wait for costs more than it saves: they move in step, and leave the process, the database
and this one idle in turn.
"""
MOST_ASKED = 256
"""Signatures that the process is asked for at once; those beyond are checked here."""
ANSWER_S = 0.25
"""A process that takes longer for a batch, of a few milliseconds, is replaced."""
GRACE_S = 0.05
"""An event loop that stood still itself reads what was answered meanwhile."""
STEADY_S = 60.0
"""A process that lived for so long did not fail at its start."""
MAX_DELAY_S = 60.0
MAX_ANSWER_BYTES = 64 * 1024

WaitingToken = tuple[UncheckedToken, "asyncio.Future[bool]"]

_decode = msgspec.msgpack.Decoder(SignatureVerdicts).decode


@asynccontextmanager
async def signature_checker(processes: int) -> AsyncIterator["SignatureChecker"]:
    """Provide a checker within the context, for one of ``processes`` like this one.

    Where they have no more processors than that, they fill them, and it checks all itself.
    """
    checker = SignatureChecker()
    if usable_cpus() <= processes:
        yield checker
        return
    async with background(checker.run()):
        yield checker


class SignatureChecker:
    """Checks signatures while ``run`` runs, in a process where that helps; else here, one by one.

    The process is started by the first signatures that arrive together, and again when it ends.
    """

    def __init__(self, command: Sequence[str] = COMMAND, *, answer_s: float = ANSWER_S) -> None:
        self._command = command
        self._answer_s = answer_s
        self._wanted = asyncio.Event()
        self._process: _CheckingProcess | None = None
        self._waiting: list[WaitingToken] = []
        self._weight = 0

    async def is_signed(self, token: UncheckedToken, weight: int = 1) -> bool:
        """Return whether the token's key signed it.

        It counts as ``weight`` where few are checked here: a request that costs more besides is
        worth sending its signature from fewer on.
        """
        return await self._is_confirmed(token, weight) or token.is_signed()

    async def _is_confirmed(self, token: UncheckedToken, weight: int) -> bool:
        """Return whether the process has found the signature right."""
        if token.key.public is None or (self._process is None and self._wanted.is_set()):
            return False
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._ask)
        confirmed: asyncio.Future[bool] = loop.create_future()
        self._waiting.append((token, confirmed))
        self._weight += weight
        return await confirmed

    def _ask(self) -> None:
        """Have those checked that wait, where that helps."""
        batch, self._waiting = self._waiting, []
        weight, self._weight = self._weight, 0
        if weight >= SMALLEST_BATCH:
            self._wanted.set()
            if self._process is not None and self._process.ask(batch):
                return
        _leave_unconfirmed(batch)

    async def run(self) -> None:
        """Keep the process running, once it is wanted, until cancelled."""
        failures = 0
        await self._wanted.wait()
        while True:
            began = monotonic()
            status = await self._run_process()
            failures = 1 if monotonic() - began >= STEADY_S else failures + 1
            delay_s = min(2.0 ** (failures - 1), MAX_DELAY_S)
            log.error(
                "signature process ended, starting another",
                extra=fields(status=status, delay_s=delay_s),
            )
            await asyncio.sleep(delay_s)

    async def _run_process(self) -> int | None:
        """Run one process; return its exit status, None if it could not be started."""
        loop = asyncio.get_running_loop()
        try:
            _, process = await loop.subprocess_exec(
                lambda: _CheckingProcess(self._answer_s),
                *self._command,
                stderr=None,
                env=_environment(os.environ),
                start_new_session=True,  # a Ctrl-C is the parent's alone
            )
        except OSError as error:
            log.warning("signature process not started: %s", error)
            return None
        log.info("signature process started", extra=fields(pid=process.transport.get_pid()))
        self._process = process
        try:
            return await asyncio.shield(process.ended)
        finally:
            self._process = None
            await process.stop()


class _CheckingProcess(SubprocessProtocol):
    """One process, and the batches that it was asked for. ``ended`` gives its exit status."""

    transport: SubprocessTransport

    def __init__(self, answer_s: float) -> None:
        self.ended: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        self._answer_s = answer_s
        self._usable = True
        self._number = 0
        self._asked: dict[int, tuple[list[WaitingToken], asyncio.TimerHandle]] = {}
        self._signatures_asked = 0
        self._received = b""

    def ask(self, batch: list[WaitingToken]) -> bool:
        """Have a batch checked; return False where the process cannot take it."""
        if not self._usable or self._signatures_asked + len(batch) > MOST_ASKED:
            return False
        self._number += 1
        late = asyncio.get_running_loop().call_later(self._answer_s, self._look, self._number)
        self._asked[self._number] = batch, late
        self._signatures_asked += len(batch)
        signed = [(cast("bytes", t.key.public), t.message, t.signature) for t, _ in batch]
        pipe = cast("WriteTransport", self.transport.get_pipe_transport(0))
        pipe.write(frame(SignatureBatch(self._number, signed)))
        return True

    async def stop(self) -> None:
        """End the process, and wait until it has ended."""
        self._abandon()
        self.transport.close()
        await asyncio.shield(self.ended)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("SubprocessTransport", transport)

    def pipe_data_received(self, _fd: int, data: bytes) -> None:
        if not self._usable:
            return
        self._received += data
        try:
            while (verdicts := self._next()) is not None:
                self._settle(verdicts)
        except (msgspec.MsgspecError, LookupError, ValueError) as error:
            self._replace(f"answers what is no answer: {error!r}")

    def pipe_connection_lost(self, _fd: int, _error: Exception | None) -> None:
        self._abandon()
        self._kill()  # else one that closed a pipe, and goes on, would be kept

    def process_exited(self) -> None:
        self._abandon()
        self.ended.set_result(self.transport.get_returncode())

    def _next(self) -> SignatureVerdicts | None:
        """Take the next whole answer from what was received. Raises ValueError where it is none."""
        size = int.from_bytes(self._received[:LENGTH_BYTES])
        if size > MAX_ANSWER_BYTES:
            raise ValueError(f"{size} bytes")
        end = LENGTH_BYTES + size
        if not size or len(self._received) < end:
            return None
        body, self._received = self._received[LENGTH_BYTES:end], self._received[end:]
        return _decode(body)

    def _settle(self, verdicts: SignatureVerdicts) -> None:
        batch, late = self._asked[verdicts.number]
        if len(verdicts.right) != len(batch):
            raise ValueError(f"{len(verdicts.right)} verdicts of {len(batch)}")
        del self._asked[verdicts.number]
        late.cancel()
        self._signatures_asked -= len(batch)
        for (_, confirmed), right in zip(batch, verdicts.right, strict=True):
            if not confirmed.done():
                confirmed.set_result(right)

    def _look(self, number: int) -> None:
        """Replace a process that has not answered a batch, unless that is still to be read."""
        loop = asyncio.get_running_loop()
        loop.call_later(GRACE_S, self._look_again, number)

    def _look_again(self, number: int) -> None:
        if number in self._asked:
            self._replace("does not answer")

    def _replace(self, why: str) -> None:
        log.warning("signature process %s, and is killed", why)
        self._abandon()
        self._kill()

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            self.transport.kill()

    def _abandon(self) -> None:
        """Ask no more, and wait no longer for what is not answered."""
        self._usable = False
        asked, self._asked = self._asked, {}
        for batch, late in asked.values():
            late.cancel()
            _leave_unconfirmed(batch)


def _leave_unconfirmed(batch: Sequence[WaitingToken]) -> None:
    for _, confirmed in batch:
        if not confirmed.done():
            confirmed.set_result(False)


def _environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what a process needs that must know nothing of the service, secrets least of all."""
    return {name: text for name, text in environment.items() if not name.startswith(PREFIX)}
