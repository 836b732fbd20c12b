"""A double of the responders on a real bus: records what arrives, and answers as scripted."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from nats.aio.client import Client
from nats.aio.msg import Msg

from contracts.context import Claims, verify
from contracts.encoding import encode, negotiate
from contracts.errors import NUMBERS, ErrorBody
from contracts.subjects import (
    CONTENT_TYPE_HEADER,
    CONTEXT_HEADER,
    ERROR_CODE_HEADER,
    ERROR_HEADER,
    SCHEDULER_QUEUE,
)
from tests.support.callers import connected
from tests.support.tokens import HOST, KEYS
from tests.wire.samples_host import HOST_SAMPLES

ScriptedReply = Callable[[Msg], object]


class SchedulerStub:
    """``answer`` gives what to send: a Struct, raw bytes, or None for silence."""

    def __init__(self, connection: Client) -> None:
        self.connection = connection
        self.messages: list[Msg] = []
        self.answer: ScriptedReply = lambda message: HOST_SAMPLES[op_of(message)][1]

    async def start(self) -> None:
        await self.connection.subscribe("ext.scheduler.*", SCHEDULER_QUEUE, cb=self.receive)
        await self.connection.flush()

    async def receive(self, message: Msg) -> None:
        self.messages.append(message)
        answer = self.answer(message)
        if answer is None:
            return
        if isinstance(answer, bytes):
            await self.connection.publish(message.reply, answer)
            return
        encoding = negotiate((message.headers or {}).get(CONTENT_TYPE_HEADER))
        headers = {CONTENT_TYPE_HEADER: encoding.value}
        if isinstance(answer, ErrorBody):
            headers |= {ERROR_HEADER: answer.error, ERROR_CODE_HEADER: str(NUMBERS[answer.code])}
        await self.connection.publish(message.reply, encode(answer, encoding), headers=headers)

    def claims(self) -> list[Claims]:
        return [claims_of(message) for message in self.messages]


def op_of(message: Msg) -> str:
    return message.subject.rpartition(".")[2]


def header(message: Msg, name: str) -> str:
    assert message.headers is not None
    return message.headers[name]


def claims_of(message: Msg) -> Claims:
    token = header(message, CONTEXT_HEADER)
    return verify(token, KEYS, audience=HOST, op=op_of(message), body=message.data, now=time.time())


@asynccontextmanager
async def scheduler_stub(url: str) -> AsyncIterator[SchedulerStub]:
    """Answer the host operations."""
    async with connected(url) as client:
        stub = SchedulerStub(client)
        await stub.start()
        yield stub
