"""Guest processes: started on demand, kept for reuse, killed after a failure.

Guests run in a process rather than a thread: a guest may sleep inside WASI, where no epoch
interrupts it, or crash wasmtime itself, and neither may cost the Runner more than a process.
"""

import asyncio
import contextlib
import logging
import os
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec

from runner_bridge.dev_runner import frames

log = logging.getLogger(__name__)

OUTPUT_CHUNK_BYTES = 4_096
MAX_OUTPUT_BYTES_PER_RUN = 65_536
# How long a guest may exceed its time limit before its process is killed.
GRACE_S = 0.5

AnswerCall = Callable[[frames.HostCall], Awaitable[frames.HostAnswer]]


class SandboxBusy(Exception):
    """The limit of running and waiting guests is reached."""


class Sandbox:
    """One guest process; ``reusable`` is whether it may run another guest."""

    def __init__(
        self, process: Process, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer
        self._output_left = 0
        self._output = asyncio.create_task(self._log_output())
        self.reusable = True

    async def run(
        self, job: frames.RunGuest, answer: AnswerCall, until: float
    ) -> frames.GuestAnswer | frames.Failure:
        """Run one guest until the loop's time ``until``; return its answer or failure."""
        self.reusable = False
        self._output_left = MAX_OUTPUT_BYTES_PER_RUN
        try:
            async with asyncio.timeout_at(until + GRACE_S):
                outcome = await self._converse(job, answer)
        except TimeoutError:
            return frames.Failure(frames.FailureKind.TIMEOUT, f"{job.budget_ms} ms are over")
        except (OSError, EOFError):
            message = "the guest's process ended; its memory or its response may be too large"
            return frames.Failure(frames.FailureKind.CRASHED, message)
        except (msgspec.MsgspecError, frames.FrameTooLarge) as error:
            return frames.Failure(frames.FailureKind.CRASHED, str(error))
        self.reusable = True
        return outcome

    async def close(self) -> None:
        """Kill the process and wait until it has exited."""
        self.reusable = False
        self._writer.close()
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        await self._process.wait()
        await self._output

    async def _converse(
        self, job: frames.RunGuest, answer: AnswerCall
    ) -> frames.GuestAnswer | frames.Failure:
        await self._send(job)
        while isinstance(message := await self._receive(), frames.HostCall):
            await self._send(await answer(message))
        return message

    async def _send(self, message: frames.ToGuest) -> None:
        self._writer.write(frames.pack(message))
        await self._writer.drain()

    async def _receive(self) -> frames.FromGuest:
        head = await self._reader.readexactly(frames.LENGTH_BYTES)
        body = await self._reader.readexactly(frames.body_length(int.from_bytes(head)))
        message: frames.FromGuest = frames.from_guest.decode(body)
        return message

    async def _log_output(self) -> None:
        if self._process.stdout is None:
            return
        unfinished = b""
        while chunk := await self._process.stdout.read(OUTPUT_CHUNK_BYTES):
            shown = chunk[: self._output_left]
            self._output_left -= len(shown)
            *lines, unfinished = (unfinished + shown).split(b"\n")
            if len(unfinished) > OUTPUT_CHUNK_BYTES:
                lines, unfinished = [*lines, unfinished], b""
            _log_lines(lines)
        _log_lines([unfinished])


def _log_lines(lines: list[bytes]) -> None:
    for line in filter(None, lines):
        log.info("guest output: %s", line.decode(errors="replace"))


async def start(memory_bytes: int) -> Sandbox:
    """Start a guest process whose guests may use this much memory."""
    ours, theirs = socket.socketpair()
    try:
        with theirs:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-I",
                "-m",
                "runner_bridge.dev_runner.guest",
                str(theirs.fileno()),
                str(memory_bytes),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                pass_fds=(theirs.fileno(),),
                env={"PATH": os.defpath, "RUST_BACKTRACE": "0"},
                cwd="/",
                start_new_session=True,
            )
        reader, writer = await asyncio.open_connection(sock=ours)
    except BaseException:
        # The process, if it was started, exits when its socket closes.
        ours.close()
        raise
    return Sandbox(process, reader, writer)


class Sandboxes:
    """At most ``size`` guest processes; at most ``max_waiting`` calls wait for one."""

    def __init__(self, size: int, max_waiting: int, memory_bytes: int) -> None:
        self._slots = asyncio.Semaphore(size)
        self._waiting_left = max_waiting
        self._memory_bytes = memory_bytes
        self._idle: list[Sandbox] = []

    @contextlib.asynccontextmanager
    async def borrow(self, until: float) -> AsyncIterator[Sandbox]:
        """Yield a guest process for exclusive use.

        Raises:
            SandboxBusy: too many wait already, or none was free by the loop's time ``until``.
        """
        await self._take_slot(until)
        try:
            sandbox = self._idle.pop() if self._idle else await start(self._memory_bytes)
            try:
                yield sandbox
            finally:
                if sandbox.reusable:
                    self._idle.append(sandbox)
                else:
                    await sandbox.close()
        finally:
            self._slots.release()

    async def close(self) -> None:
        """Kill all idle processes; none may be borrowed afterwards."""
        while self._idle:
            await self._idle.pop().close()

    async def _take_slot(self, until: float) -> None:
        if self._slots.locked() and self._waiting_left <= 0:
            raise SandboxBusy("too many calls wait already")
        self._waiting_left -= 1
        try:
            async with asyncio.timeout_at(until):
                await self._slots.acquire()
        except TimeoutError:
            raise SandboxBusy("no guest process became free in time") from None
        finally:
            self._waiting_left += 1
