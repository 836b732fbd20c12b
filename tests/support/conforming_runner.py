"""A Runner on the bus that does as the contract says, and breaks it in one way on purpose."""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg

from contracts.context import (
    ContextRefused,
    KeySet,
    Reason,
    verify,
)
from contracts.deadline import deadline_passed
from contracts.encoding import MAX_BODY_BYTES, Encoding, MalformedBody, decode
from contracts.execution import ExecuteRequest
from contracts.subjects import (
    CONTEXT_HEADER,
    DEADLINE_HEADER,
    EXECUTE_OP,
    EXECUTE_SUBJECT,
    IDEMPOTENCY_HEADER,
    RUNNER_AUDIENCE,
    RUNNER_QUEUE,
)

Document = dict[str, Any]


class ConformingRunner:
    """Answers execute requests with the extension of ``examples/conformance``, in Python.

    ``fault`` names the one way in which it breaks the contract.
    """

    def __init__(self, client: Client, keys: KeySet, fault: str = "") -> None:
        self._client = client
        self._keys = keys
        self._fault = fault
        self._answers: dict[str, Document] = {}

    async def answer(self, message: Msg) -> None:
        """Reply to a request, or keep silent where that is the fault."""
        headers = dict(message.headers or {})
        response = await self._respond(message.data, headers)
        if response is not None:
            await self._client.publish(message.reply, msgspec.json.encode(response))

    async def _respond(self, body: bytes, headers: dict[str, str]) -> Document | None:
        try:
            self._verify(headers.get(CONTEXT_HEADER), body)
        except ContextRefused as refused:
            status = 408 if refused.reason is Reason.EXPIRED else 401
            return self._failure(status, "not authorized")
        deadline = headers.get(DEADLINE_HEADER, "")
        late = deadline_passed(deadline, time.time()) and self._fault != "ignores deadlines"
        if late or (self._fault == "refuses an unreadable deadline" and not deadline.isdecimal()):
            return self._failure(408, "the caller gave up")
        try:
            request = read(body)
        except MalformedBody as error:
            silent = self._fault == "keeps silent about malformed documents"
            return None if silent else self._failure(400, str(error))
        if self._fault == "refuses unknown members" and b"later" in body:
            return self._failure(400, "unknown member")
        if self._fault == "refuses null" and b'"secret_envelope":null' in body:
            return self._failure(400, "secret_envelope is null")
        return await self._remembered(request, headers.get(IDEMPOTENCY_HEADER, ""))

    def _verify(self, token: str | None, body: bytes) -> None:
        audience, op, hashed, now = RUNNER_AUDIENCE, EXECUTE_OP, body, time.time()
        try:
            verify(token, self._keys, audience=audience, op=op, body=hashed, now=now)
        except ContextRefused as refused:
            if self._fault != f"accepts {refused.reason}":
                raise

    def _failure(self, status: int, error: str) -> Document:
        if self._fault == "gives no reason":
            return {"status": status, "headers": {}}
        if self._fault == "answers refusals with 500":
            status = 500
        return {"status": status, "headers": {}, "error": error}

    async def _remembered(self, request: ExecuteRequest, occurrence: str) -> Document:
        key = f"{occurrence}:{request.context.attempt}"
        if self._fault == "remembers by occurrence":
            key = occurrence
        if self._fault == "remembers one answer for all":
            key = ""
        if key not in self._answers or self._fault == "forgets":
            self._answers[key] = await self._call(request, key)
        return self._answers[key]

    async def _call(self, request: ExecuteRequest, key: str) -> Document:
        sent = json.loads(base64.b64decode(str(request.http.body_b64)))
        seconds, limit = sent.get("delayMs", 0) / 1000, request.limits.timeout_ms / 1000
        if seconds > limit:
            await asyncio.sleep(limit)
            if self._fault != "has no timeout":
                return {"status": 504, "headers": {}, "error": "the extension was too slow"}
        headers = dict(request.http.headers)
        if self._fault == "drops headers":
            headers = {name: value for name, value in headers.items() if "schedule" not in name}
        if self._fault == "replaces the key":
            headers["x-idempotency-key"] = key
        if self._fault == "loses the body":
            sent = {"status": sent["status"]}
        response = echo(headers, sent)
        if self._fault == "swallows failures":
            response["status"] = 200
        if self._fault == "answers with no HTTP status":
            response["status"] = 0
        large = len(msgspec.json.encode(response)) > MAX_BODY_BYTES
        if large and self._fault != "answers without bound":
            return {"status": 502, "headers": {}, "error": "the answer is too large"}
        return response


def read(body: bytes) -> ExecuteRequest:
    """Read a document. Raises MalformedBody."""
    request = decode(body, ExecuteRequest, Encoding.JSON)
    if not 0 < request.limits.timeout_ms <= 600_000:
        raise MalformedBody("timeout_ms is out of range")
    return request


def echo(headers: dict[str, str], sent: Document) -> Document:
    """Return what a Runner answers when the extension of ``examples/conformance`` was called."""
    answer = {
        "nonce": str(uuid4()),
        "headers": headers,
        "body": sent,
        "filling": "x" * sent.get("bytes", 0),
    }
    encoded = base64.b64encode(msgspec.json.encode(answer)).decode()
    return {"status": sent["status"], "headers": {}, "body_b64": encoded}


@asynccontextmanager
async def conforming_runner(client: Client, keys: KeySet, fault: str = "") -> AsyncIterator[None]:
    """Answer execute requests on a connection that its owner closes."""
    runner, tasks = ConformingRunner(client, keys, fault), set[asyncio.Task[None]]()

    async def receive(message: Msg) -> None:
        task = asyncio.create_task(runner.answer(message))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    subscription = await client.subscribe(EXECUTE_SUBJECT, queue=RUNNER_QUEUE, cb=receive)
    await client.flush()
    try:
        yield
    finally:
        await subscription.unsubscribe()
        await asyncio.gather(*tasks)
