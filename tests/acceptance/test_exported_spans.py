"""A responder that exports its spans, to a collector of the test's own."""

from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from runner_bridge.client import InstallContext, SchedulerHost
from runner_bridge.requests import RequestSettings, SignedRequests
from tests.support.keys import RUNNER_KEY
from tests.support.platform import install
from tests.support.responders import PATIENT, clients, responders

LASTING = RequestSettings(attempt_timeout_s=60.0, total_timeout_s=60.0)
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


class Collector:
    """What was exported, in OpenTelemetry's own shape."""

    def __init__(self) -> None:
        self.received: list[ExportTraceServiceRequest] = []
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        self.received.append(ExportTraceServiceRequest.FromString(await request.read()))
        return web.Response()

    def spans(self) -> dict[str, str]:
        """Return the trace id of each span by its name."""
        return {
            span.name: span.trace_id.hex()
            for request in self.received
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        }


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    collector = Collector()
    application = web.Application()
    application.router.add_post("/v1/traces", collector.take)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    collector.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield collector
    await runner.cleanup()


async def test_spans_of_requests_in_flight_at_the_stop_are_exported(
    tmp_path: Path,
    database: str,
    pool: asyncpg.Pool,
    nats_url: str,
    collector: Collector,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    async with (
        responders(1, tmp_path, database, nats_url, **PATIENT, tracing="true") as (process,),
        clients(nats_url) as (client,),
    ):
        speaker = InstallContext(install_id=(await install(pool)).install_id)
        requests = SignedRequests(client, lambda: RUNNER_KEY, LASTING)
        await SchedulerHost(requests, speaker, f"00-{TRACE}-00f067aa0ba902b7-01").list()
        await SchedulerHost(requests, speaker).get_endpoints()
        assert await process.stop() == 0
    spans = collector.spans()
    assert spans["ext.scheduler.list"] == TRACE
    assert spans["ext.scheduler.getEndpoints"] not in {TRACE, ""}
