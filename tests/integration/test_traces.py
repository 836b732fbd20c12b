"""Spans of requests and calls, with OpenTelemetry's own exporter into memory."""

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode, format_span_id, format_trace_id

from contracts.execution import ExecuteContext, ExecuteHttp, ExecuteLimits, ExecuteRequest
from contracts.subjects import HOST_AUDIENCE, REQUEST_ID_HEADER, TRACE_HEADER
from contracts.tracing import trace_id
from service.bus.client import NatsConnection
from service.messages import Reply, Request
from service.rules.call_ids import trace_id as run_trace
from service.runtime.tracing import Spans, exported_spans, run_traces
from service.worker.runner_client import RunnerCall, RunnerClient
from tests.support.bus_service import a_client
from tests.support.keys import WORKER_KEY
from tests.support.runner_double import bus_runner, status

PARENT = "00f067aa0ba902b7"
TRACEPARENT = f"00-4bf92f3577b34da6a3ce929d0e0e4736-{PARENT}-01"


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def spans(exporter: InMemorySpanExporter) -> Spans:
    provider = TracerProvider(id_generator=run_traces())
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return Spans(provider, provider.shutdown)


@pytest.fixture
async def client(nats_url: str) -> AsyncIterator[NatsConnection]:
    async with a_client(nats_url) as client:
        yield client


def only(exporter: InMemorySpanExporter) -> ReadableSpan:
    (span,) = exporter.get_finished_spans()
    return span


def request(**headers: str) -> Request:
    return Request("ext.scheduler.list", "list", HOST_AUDIENCE, headers, b"", 0.0)


async def answered(asked: Request, error: tuple[int, str] | None = None) -> Reply:
    trace = trace_id(asked.headers.get(TRACE_HEADER))
    return Reply({REQUEST_ID_HEADER: "id-1", "seen": str(trace)}, b"", error)


async def test_the_span_of_a_request_continues_its_callers_trace(
    exporter: InMemorySpanExporter, spans: Spans
) -> None:
    reply = await spans.around(answered)(request(traceparent=TRACEPARENT))
    span = only(exporter)
    assert span.name == "ext.scheduler.list"
    assert span.kind is SpanKind.SERVER
    assert span.parent is not None
    assert format_span_id(span.parent.span_id) == PARENT
    assert span.context is not None
    assert reply.headers["seen"] == format_trace_id(span.context.trace_id) == trace_id(TRACEPARENT)
    assert span.attributes is not None
    assert span.attributes["ext.request_id"] == "id-1"
    assert span.status.status_code is StatusCode.UNSET


@pytest.mark.parametrize("traceparent", [None, "00-zz"])
async def test_a_request_without_a_trace_starts_one_for_its_handler(
    exporter: InMemorySpanExporter, spans: Spans, traceparent: str | None
) -> None:
    headers = {} if traceparent is None else {"traceparent": traceparent}
    reply = await spans.around(answered)(request(**headers))
    span = only(exporter)
    assert span.parent is None
    assert span.context is not None
    assert reply.headers["seen"] == format_trace_id(span.context.trace_id)


@pytest.mark.parametrize(
    ("number", "judged"),
    [(401, StatusCode.UNSET), (500, StatusCode.ERROR), (503, StatusCode.ERROR)],
)
async def test_only_our_own_faults_are_errors(
    exporter: InMemorySpanExporter, spans: Spans, number: int, judged: StatusCode
) -> None:
    await spans.around(lambda seen: answered(seen, (number, "why")))(request())
    span = only(exporter)
    assert span.status.status_code is judged
    assert span.attributes is not None
    assert span.attributes["ext.error"] == number


async def test_concurrent_requests_have_separate_traces(
    exporter: InMemorySpanExporter, spans: Spans
) -> None:
    async def slowly(seen: Request) -> Reply:
        await asyncio.sleep(0)
        return await answered(seen)

    handle = spans.around(slowly)
    replies = await asyncio.gather(*(handle(request()) for _ in range(20)))
    assert len({reply.headers["seen"] for reply in replies}) == 20
    assert all(span.parent is None for span in exporter.get_finished_spans())


def execution() -> ExecuteRequest:
    context = ExecuteContext(
        request_id=str(uuid4()),
        tenant_id="tenant-a",
        extension_id=str(uuid4()),
        install_id=str(uuid4()),
        schedule_id=str(uuid4()),
        attempt=1,
    )
    return ExecuteRequest(
        context=context, http=ExecuteHttp(method="POST", path="/x"), limits=ExecuteLimits(1000)
    )


def call(request: ExecuteRequest) -> RunnerCall:
    return RunnerCall(request, idempotency_key=uuid4(), at=0.0, timeout_s=60)


async def test_a_call_carries_its_span_to_the_runner(
    exporter: InMemorySpanExporter, spans: Spans, client: NatsConnection, nats_url: str
) -> None:
    runner_client = RunnerClient(client, lambda: WORKER_KEY, spans=spans)
    asked = execution()
    made = call(asked)
    async with bus_runner(nats_url) as runner:
        outcome = await runner_client.call(made)
        runner.script = status(500, "the payload was: secret")
        failed = await runner_client.call(call(execution()))
    assert (outcome.http_status, failed.http_status) == (200, 500)
    good, bad = exporter.get_finished_spans()
    assert good.context is not None
    sent = runner.calls[0].headers[TRACE_HEADER]
    assert sent.split("-")[1:3] == [
        format_trace_id(good.context.trace_id),
        format_span_id(good.context.span_id),
    ]
    assert good.context.trace_id == run_trace(made.idempotency_key)
    assert good.parent is None
    assert (good.kind, good.status.status_code) == (SpanKind.CLIENT, StatusCode.UNSET)
    assert good.attributes is not None
    assert good.attributes["ext.request_id"] == asked.context.request_id
    assert bad.status.status_code is StatusCode.ERROR
    assert "secret" not in bad.to_json()


async def test_without_spans_a_call_carries_no_trace(client: NatsConnection, nats_url: str) -> None:
    runner_client = RunnerClient(client, lambda: WORKER_KEY)
    async with bus_runner(nats_url) as runner:
        await runner_client.call(call(execution()))
    assert TRACE_HEADER not in runner.calls[0].headers


def test_the_exporter_of_the_extra_can_be_created_and_closed() -> None:
    exported_spans("ext-scheduler").close()
