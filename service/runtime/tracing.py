"""Spans of requests and of calls to the Runner, by OpenTelemetry, where tracing is on.

The library is the extra ``otel``, imported only when the setting asks for it. Its own ``OTEL_*``
variables state where spans go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING
from uuid import UUID

from msgspec import Struct, structs

from contracts.execution import ExecuteContext
from contracts.subjects import EXECUTE_SUBJECT, REQUEST_ID_HEADER
from contracts.tracing import trace_headers
from service.messages import Handle, Reply, Request
from service.rules.call_ids import trace_id
from service.rules.outcomes import CallOutcome

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.id_generator import IdGenerator
    from opentelemetry.trace import Span, TracerProvider

_next_trace: ContextVar[int] = ContextVar("next_trace", default=0)
"""The trace that the next span without a parent is in, 0 for a new one."""


class TracingUnavailableError(Exception):
    """Tracing is on, and its libraries are not installed."""


class RunnerCallSpan(Struct, frozen=True):
    """The span of one call to the Runner; ``headers`` let the Runner continue its trace."""

    span: Span
    headers: dict[str, str]

    def record(self, outcome: CallOutcome) -> None:
        """Note the outcome: its status, and that it failed, but no error text."""
        from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415 - an extra

        if outcome.http_status is not None:
            self.span.set_attribute("http.response.status_code", outcome.http_status)
        if outcome.error is not None:
            self.span.set_status(Status(StatusCode.ERROR))  # the text may be the extension's


class Spans:
    """Makes spans with a provider; ``close`` sends the remaining ones."""

    def __init__(self, provider: TracerProvider, close: Callable[[], None]) -> None:
        from opentelemetry.trace.propagation.tracecontext import (  # noqa: PLC0415 - an extra
            TraceContextTextMapPropagator,
        )

        self.close = close
        self._tracer = provider.get_tracer("ext-scheduler")
        self._propagator = TraceContextTextMapPropagator()

    def around(self, handle: Handle) -> Handle:
        """Return ``handle`` within a span that continues the caller's trace, if it has one.

        The handler sees the span's own context, so that its log line names the same trace.
        """
        from opentelemetry.trace import SpanKind, Status, StatusCode  # noqa: PLC0415 - an extra

        async def traced(request: Request) -> Reply:
            parent = self._propagator.extract(trace_headers(request.headers))
            with self._tracer.start_as_current_span(
                request.subject,
                parent,
                SpanKind.SERVER,
                {"messaging.system": "nats", "ext.operation": request.op},
            ) as span:
                own: dict[str, str] = {}
                self._propagator.inject(own)
                headers = {**request.headers, **own}
                reply = await handle(structs.replace(request, headers=headers))
                span.set_attribute("ext.request_id", reply.headers[REQUEST_ID_HEADER])
                if reply.error is not None:
                    number, message = reply.error
                    span.set_attribute("ext.error", number)
                    if number >= 500:
                        span.set_status(Status(StatusCode.ERROR, message))
                return reply

        return traced

    @contextmanager
    def runner_call(self, context: ExecuteContext, run_id: UUID) -> Iterator[RunnerCallSpan]:
        """Open the span of a call to the Runner, in the trace of its run, within the context."""
        from opentelemetry.context import Context  # noqa: PLC0415 - an extra
        from opentelemetry.trace import SpanKind, use_span  # noqa: PLC0415 - likewise

        chosen = _next_trace.set(trace_id(run_id))
        span = self._tracer.start_span(
            EXECUTE_SUBJECT,
            Context(),
            kind=SpanKind.CLIENT,
            attributes={
                "messaging.system": "nats",
                "ext.tenant": context.tenant_id,
                "ext.schedule": str(context.schedule_id),
                "ext.request_id": context.request_id,
                "ext.attempt": str(context.attempt),
            },
        )
        _next_trace.reset(chosen)
        with use_span(span, end_on_exit=True):
            headers: dict[str, str] = {}
            self._propagator.inject(headers)
            yield RunnerCallSpan(span, headers)


def run_traces() -> IdGenerator:
    """Return what gives spans their ids: random ones, but for the trace of a run."""
    from opentelemetry.sdk.trace.id_generator import (  # noqa: PLC0415 - an extra
        IdGenerator,
        RandomIdGenerator,
    )

    random = RandomIdGenerator()

    class _RunTraces(IdGenerator):  # the interface of the library
        def generate_span_id(self) -> int:
            return random.generate_span_id()

        def generate_trace_id(self) -> int:
            return _next_trace.get() or random.generate_trace_id()

    return _RunTraces()


def exported_spans(service_name: str) -> Spans:
    """Return spans that are exported by OTLP over HTTP. Raises TracingUnavailableError."""
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415 - an extra
            OTLPSpanExporter,
        )
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - an extra
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - an extra
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as missing:
        raise TracingUnavailableError(
            f"{missing.name} is not installed: pip install 'ext-scheduler[service,otel]'"
        ) from None
    resource = Resource.create({"service.name": service_name})
    provider = TracerProvider(resource=resource, id_generator=run_traces())
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Spans(provider, provider.shutdown)
