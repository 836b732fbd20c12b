"""The scheduler side of the conformance kit: each planted fault of a scheduler is named."""

from collections.abc import AsyncIterator, Sequence

import pytest
from nats.aio.client import Client

from devstack.conformance.cases import CaseResult, run_cases
from devstack.conformance.host import host_cases
from devstack.conformance.samples import foreign_key
from devstack.conformance.scheduler_peer import SchedulerPeer
from tests.support.callers import connected
from tests.support.conforming_scheduler import ENDPOINT, INSTALL_ID, conforming_scheduler
from tests.support.keys import KEYS, RUNNER_KEY

ENCODINGS = "list in both encodings"
LIFE = "a schedule's life, and repeated requests"
FAULTS = {
    "accepts algorithm": "context: algorithm none",
    "accepts audience": "context: another audience",
    "accepts body": "context: another body",
    "accepts claims": "context: jti is no UUID",
    "accepts critical": "context: unknown crit",
    "accepts expired": "context: expired",
    "accepts issuer": "context: another issuer",
    "accepts lifetime": "context: exp - iat is 121",
    "accepts malformed": "context: padded base64url",
    "accepts missing": "context: no token",
    "accepts not_yet_valid": "context: nbf in the future",
    "accepts operation": "context: another operation",
    "accepts oversize": "context: longer than 4096 characters",
    "accepts signature": "context: claims changed after signing",
    "accepts type": "context: another type",
    "accepts unknown_key": "context: unknown kid",
    "answers in the other encoding": ENCODINGS,
    "compares content types letter by letter": "a content type in another spelling, and none",
    "counts no revisions": LIFE,
    "deletes twice": LIFE,
    "drops the content type": ENCODINGS,
    "drops the number of an error": "unknown install",
    "drops the request id": "headers of a reply",
    "drops the text of an error": "unknown install",
    "explains refused contexts": "context: unknown kid",
    "ignores deadlines": "a passed deadline",
    "ignores providers": "capability granted to the execution",
    "ignores revisions": LIFE,
    "ignores the install": "unknown install",
    "ignores the tenant": "another tenant",
    "ignores the version": "another version",
    "keeps silent about malformed bodies": "malformed bodies",
    "labels the other encoding": ENCODINGS,
    "leaves out what is null": LIFE,
    "leaves out what may be scheduled": "endpoints in their order",
    "loses characters of a payload": LIFE,
    "makes a change again": LIFE,
    "makes request ids up": "headers of a reply",
    "misses an unknown schedule": "a schedule that is not there",
    "names one field error only": "field errors come together",
    "omits success": LIFE,
    "orders endpoints by method, descending": "endpoints in their order",
    "refuses unknown members": "unknown members are ignored",
    "repeats a jti for another body": LIFE,
    "repeats a jti for another operation": LIFE,
    "requires a content type": "a content type in another spelling, and none",
    "requires providers": ENCODINGS,
    "returns the headers": "headers of a reply",
    "says success of a read": ENCODINGS,
    "sums field errors up": "field errors come together",
    "swaps results and service errors": "field errors come together",
    "takes a malformed body for an empty one": "malformed bodies",
    "takes a malformed id for an unknown one": "a schedule that is not there",
    "takes a name twice": LIFE,
    "takes absent for null": LIFE,
    "takes an empty body for malformed": "an empty body is an empty map",
    "takes an unknown content type for JSON": "unknown content type",
    "takes bodies of any size": "a body that is too large",
    "takes null for absent": LIFE,
    "writes times its own way": LIFE,
}
"""What a scheduler does wrong, and a case that says so."""


@pytest.fixture
async def peer(nats_url: str) -> AsyncIterator[SchedulerPeer]:
    async with connected(nats_url) as client:
        yield SchedulerPeer(
            client=client,
            key=RUNNER_KEY,
            foreign=foreign_key(RUNNER_KEY),
            install_id=INSTALL_ID,
            endpoint=ENDPOINT,
        )


@pytest.fixture
async def service(nats_url: str) -> AsyncIterator[Client]:
    """The connection of the scheduler."""
    async with connected(nats_url) as client:
        yield client


async def judged(peer: SchedulerPeer, names: Sequence[str] = ()) -> dict[str, CaseResult]:
    cases = host_cases(peer)
    chosen = {name: cases[name] for name in names or cases}
    return {result.case: result async for result in run_cases("scheduler", chosen, peer)}


async def test_a_conforming_scheduler_passes(peer: SchedulerPeer, service: Client) -> None:
    async with conforming_scheduler(service, KEYS):
        results = await judged(peer)
    assert {name: result.fault for name, result in results.items() if not result.passed} == {}
    assert len(results) > 50


@pytest.mark.parametrize("fault", sorted(FAULTS))
async def test_a_fault_of_a_scheduler_is_named(
    peer: SchedulerPeer, service: Client, fault: str
) -> None:
    case = FAULTS[fault]
    async with conforming_scheduler(service, KEYS, fault):
        results = await judged(peer, [case])
    assert not results[case].passed
    assert results[case].fault


async def test_every_case_finds_a_fault(peer: SchedulerPeer, service: Client) -> None:
    """What fails for no planted fault would pass whatever a scheduler does."""
    rules = {name for name in host_cases(peer) if not name.startswith("context: ")}
    assert rules - set(FAULTS.values()) == set()
