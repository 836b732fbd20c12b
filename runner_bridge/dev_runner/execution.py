"""One execution: from the Runner's document to a guest and back; every outcome is a response."""

import asyncio
import base64
import binascii
import logging
from collections.abc import Mapping
from types import MappingProxyType
from urllib.parse import urlencode

import msgspec

from contracts.capabilities import KNOWN
from contracts.execution import ExecuteHttp, ExecuteRequest, ExecuteResponse, given
from runner_bridge.dev_runner import frames
from runner_bridge.dev_runner.components import Components, UnknownComponent, UnusableComponent
from runner_bridge.dev_runner.frames import FailureKind, Value
from runner_bridge.dev_runner.host import (
    ExecutionGrant,
    Host,
    HostCallRefused,
    capabilities,
    context_data,
)
from runner_bridge.dev_runner.sandbox import AnswerCall, SandboxBusy, Sandboxes

log = logging.getLogger(__name__)

# The bound of a reply to `ext.runner.execute`, and so of the document.
MAX_RESPONSE_BYTES = 262_144
MAX_TIMEOUT_MS = 300_000

_STATUS: Mapping[FailureKind, int] = MappingProxyType(
    {
        FailureKind.TIMEOUT: 504,
        FailureKind.TRAP: 500,
        FailureKind.HOST_CALL: 500,
        FailureKind.REJECTED: 500,
        FailureKind.RESPONSE: 502,
        FailureKind.CRASHED: 502,
    }
)


class NotExecuted(Exception):
    """No guest was called; ``status`` is the HTTP status of the refusal."""

    def __init__(self, status: int, error: str) -> None:
        super().__init__(error)
        self.status = status
        self.error = error


class Executions:
    """Runs requests on components that call the host's services."""

    def __init__(
        self, components: Components, sandboxes: Sandboxes, host: Host, memory_bytes: int
    ) -> None:
        self._components = components
        self._sandboxes = sandboxes
        self._host = host
        self._memory_bytes = memory_bytes

    async def execute(
        self, request: ExecuteRequest, extra_headers: Mapping[str, str]
    ) -> ExecuteResponse:
        """Call the guest and return its response; ``extra_headers`` are defaults of its headers.

        The time limit starts here, so that it includes waiting and loading.

        Raises:
            NotExecuted: the request is malformed, names no component, or too many run already.
        """
        loop = asyncio.get_running_loop()
        unknown = capabilities(request.providers) - KNOWN
        if unknown:
            raise NotExecuted(400, f"unknown_capability: {min(unknown)[:80]}")
        if request.limits.timeout_ms <= 0:
            raise NotExecuted(400, "malformed_request: timeout_ms must be above 0")
        until = loop.time() + min(request.limits.timeout_ms, MAX_TIMEOUT_MS) / 1000
        guest_request = {
            "context": context_data(request.context),
            "http": _guest_http(request.http, extra_headers),
        }
        component = await self._compiled(request, until)
        try:
            async with self._sandboxes.borrow(until) as sandbox:
                job = frames.RunGuest(
                    component=component,
                    request=guest_request,
                    budget_ms=max(1, int((until - loop.time()) * 1000)),
                    memory_bytes=self._memory_bytes,
                    response_bytes=MAX_RESPONSE_BYTES,
                )
                outcome = await sandbox.run(job, self._answers(request, until), until)
        except SandboxBusy as error:
            raise NotExecuted(503, f"runner_busy: {error}") from None
        # A host function that times out traps its guest just before the guest itself times out.
        if isinstance(outcome, frames.Failure) and loop.time() >= until:
            outcome = frames.Failure(
                FailureKind.TIMEOUT, f"{request.limits.timeout_ms} ms are over"
            )
        return _response(outcome)

    async def _compiled(self, request: ExecuteRequest, until: float) -> str:
        name = given(request.context.content_hash)
        if name is None:
            raise NotExecuted(400, "malformed_request: content_hash is required")
        try:
            async with asyncio.timeout_at(until):
                return str(await self._components.compiled(name))
        except UnknownComponent:
            raise NotExecuted(404, f"component_not_found: {name[:80]}") from None
        except UnusableComponent as error:
            raise NotExecuted(500, f"component_unusable: {error}") from None
        except TimeoutError:
            raise NotExecuted(503, "component_loading: it is still being compiled") from None

    def _answers(self, request: ExecuteRequest, until: float) -> AnswerCall:
        grant = ExecutionGrant(request.context, capabilities(request.providers))

        async def answer(call: frames.HostCall) -> frames.HostAnswer:
            name = f"{call.interface}.{call.function}"
            try:
                async with asyncio.timeout_at(until):
                    return frames.HostAnswer(await self._host.answer(grant, call))
            except HostCallRefused as error:
                return frames.HostAnswer(refusal=str(error))
            except TimeoutError:
                return frames.HostAnswer(refusal=f"{name} took too long")
            except Exception:  # an edge: a fault of the host's ends this guest only
                log.exception("host function failed", extra={"fields": {"function": name}})
                return frames.HostAnswer(refusal=f"{name} failed")

        return answer


def _guest_http(http: ExecuteHttp, extra_headers: Mapping[str, str]) -> dict[str, Value]:
    present = {name.lower() for name in http.headers}
    extra = {name: text for name, text in extra_headers.items() if name not in present}
    path = http.path if http.path.startswith("/") else f"/{http.path}"
    body = given(http.body_b64)
    return {
        "method": http.method,
        "url": f"{path}?{urlencode(http.query)}" if http.query else path,
        "headers": [
            {"name": name, "value": text} for name, text in {**http.headers, **extra}.items()
        ],
        "body": None if body is None else _decoded(body),
    }


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise NotExecuted(400, "malformed_request: body_b64 is not base64") from None


def _response(outcome: frames.GuestAnswer | frames.Failure) -> ExecuteResponse:
    if isinstance(outcome, frames.Failure):
        return ExecuteResponse(
            status=_STATUS[outcome.kind], error=f"{outcome.kind}: {outcome.message}"
        )
    headers: dict[str, str] = {}
    for name, text in outcome.headers:
        headers[name] = f"{headers[name]}, {text}" if name in headers else text
    body = None if outcome.body is None else base64.b64encode(outcome.body).decode()
    response = ExecuteResponse(status=outcome.status, headers=headers, body_b64=body)
    size = len(msgspec.json.encode(response))
    if size > MAX_RESPONSE_BYTES:
        message = f"the response has {size} bytes encoded, the limit is {MAX_RESPONSE_BYTES}"
        return _response(frames.Failure(FailureKind.RESPONSE, message))
    return response
