"""An extension in the development Runner speaks over the bus, as the install that it runs for."""

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest

from contracts.context import signing_key
from contracts.errors import Code, ErrorBody
from runner_bridge.dev_runner.schedulers import schedulers_over
from runner_bridge.requests import RequestSettings, SignedRequests
from tests.support.callers import connected
from tests.support.running_extensions import (
    ALL,
    DEMO,
    Runner,
    development_runner,
    installed,
    json_of,
)
from tests.support.scheduler_stub import SchedulerStub, scheduler_stub
from tests.support.tokens import HOST, KEYS

# Whoever is first waits until a component of 18 MB is compiled, on however busy a machine.
pytestmark = pytest.mark.timeout(300)

INSTALL = UUID(int=7)
# Asked a single time, however long the answer takes.
ONCE = RequestSettings(
    attempt_timeout_s=60.0,
    total_timeout_s=60.0,
    first_delay_s=60.0,
    max_delay_s=60.0,
)


@pytest.fixture
async def runner(nats_url: str, tmp_path: Path) -> AsyncIterator[Runner]:
    async with connected(nats_url) as client:
        requests = SignedRequests(client, lambda: signing_key(KEYS, HOST), ONCE)
        async with development_runner(tmp_path, schedulers_over(requests)) as runner:
            yield runner


@pytest.fixture
async def service(nats_url: str) -> AsyncIterator[SchedulerStub]:
    async with scheduler_stub(nats_url) as stub:
        yield stub


async def test_each_request_is_signed_for_the_install_that_executes(
    runner: Runner, service: SchedulerStub
) -> None:
    response = await runner.execute(installed(DEMO, runner), "/api/schedules", install=str(INSTALL))
    assert json_of(response)["schedules"]
    [claims] = service.claims()
    assert (claims.op, claims.install_id, claims.tenant_id) == ("list", INSTALL, "tenant-a")
    assert (claims.extension_id, claims.version_id) == ("extension-1", "version-1")
    assert set(claims.providers or ()) == set(ALL)


@pytest.mark.parametrize(
    ("code", "error"), [(Code.DENIED, "denied"), (Code.RATE_LIMITED, "quota_exceeded")]
)
async def test_a_service_error_is_the_extensions_error_code(
    runner: Runner, service: SchedulerStub, code: Code, error: str
) -> None:
    service.answer = lambda _: ErrorBody(code=code, error="no")
    response = await runner.execute(installed(DEMO, runner), "/api/schedules", install=str(INSTALL))
    assert json_of(response) == {"error": error}


async def test_an_extension_without_a_service_gets_an_internal_error(runner: Runner) -> None:
    response = await runner.execute(installed(DEMO, runner), "/api/schedules", install=str(INSTALL))
    assert json_of(response) == {"error": "internal"}


async def test_an_execution_that_names_no_install_is_denied(
    runner: Runner, service: SchedulerStub
) -> None:
    response = await runner.execute(installed(DEMO, runner), "/api/schedules", install="someone")
    assert json_of(response) == {"error": "denied"}
    assert service.messages == []
