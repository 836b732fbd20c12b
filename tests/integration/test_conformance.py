"""The conformance kit: the bridge and the service pass, and each planted fault is named."""

import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import asyncpg
import msgspec
import pytest
from nats.aio.client import Client

from contracts.context import Key
from devstack.conformance.bus import NothingAnswersError
from devstack.conformance.cases import CaseResult, run_cases
from devstack.conformance.execute import execute_cases
from devstack.conformance.runner_peer import RunnerPeer
from devstack.conformance.samples import execute_document, foreign_key
from tests.support.callers import connected
from tests.support.command_line import command_line, error_line
from tests.support.conforming_runner import conforming_runner, echo
from tests.support.executions import executing
from tests.support.keys import KEYS, WORKER_KEY
from tests.support.platform import install
from tests.support.responders import responders
from tests.support.runner_double import ReceivedCall, RunnerDouble, http_runner
from tests.support.tokens import KEYS as BRIDGE_KEYS

SLOW = "an extension that is too slow"
FAULTS = {
    "accepts signature": "context: forged signature",
    "accepts audience": "context: another audience",
    "accepts issuer": "context: another issuer",
    "accepts operation": "context: another operation",
    "accepts body": "context: another body",
    "accepts lifetime": "context: exp - iat is 121",
    "accepts expired": "context: expired",
    "accepts not_yet_valid": "context: issued in the future",
    "accepts algorithm": "context: algorithm none",
    "accepts missing": "context: no token",
    "accepts malformed": "context: member appears twice",
    "accepts critical": "context: unknown crit",
    "answers refusals with 500": "context: unknown kid",
    "answers with no HTTP status": "a call is answered",
    "answers without bound": "an answer that is too large",
    "drops headers": "headers reach the extension",
    "forgets": "a repeated delivery calls once",
    "gives no reason": "a passed deadline",
    "has no timeout": SLOW,
    "ignores deadlines": "a passed deadline",
    "keeps silent about malformed documents": "document: not JSON",
    "loses the body": "the body reaches the extension",
    "refuses an unreadable deadline": "an unreadable deadline sets none",
    "refuses null": "null stands for absent",
    "refuses unknown members": "unknown members are ignored",
    "remembers by occurrence": "a further attempt calls again",
    "remembers one answer for all": "each occurrence is called",
    "replaces the key": "headers reach the extension",
    "swallows failures": "the extension's failure is passed on",
}
"""What a Runner does wrong, and a case that says so."""


@pytest.fixture
async def bus(nats_url: str) -> AsyncIterator[Client]:
    async with connected(nats_url) as client:
        yield client


def runner_peer(client: Client, key: Key = WORKER_KEY) -> RunnerPeer:
    document = msgspec.to_builtins(execute_document())
    document["limits"]["timeout_ms"] = 1_000  # what bounds the wait for an answer
    return RunnerPeer(
        client=client,
        subject="ext.runner.execute",
        key=key,
        foreign=foreign_key(key),
        document=document,
    )


async def judged(peer: RunnerPeer, names: Sequence[str] = ()) -> dict[str, CaseResult]:
    cases = execute_cases(peer)
    chosen = {name: cases[name] for name in names or cases}
    return {result.case: result async for result in run_cases("runner", chosen, peer)}


def failures(results: dict[str, CaseResult]) -> dict[str, str]:
    return {name: result.fault for name, result in results.items() if not result.passed}


async def test_a_conforming_runner_passes(bus: Client, nats_url: str) -> None:
    async with connected(nats_url) as client, conforming_runner(client, KEYS):
        results = await judged(runner_peer(bus))
    assert failures(results) == {}
    assert len(results) > 50


@pytest.mark.parametrize("fault", sorted(FAULTS))
async def test_a_fault_of_a_runner_is_named(bus: Client, nats_url: str, fault: str) -> None:
    case = FAULTS[fault]
    async with connected(nats_url) as client, conforming_runner(client, KEYS, fault):
        results = await judged(runner_peer(bus), [case])
    assert list(failures(results)) == [case]
    assert results[case].fault


async def test_every_rule_finds_a_fault(bus: Client) -> None:
    """What fails for no planted fault would pass whatever a Runner does."""
    rules = {name for name in execute_cases(runner_peer(bus)) if ": " not in name}
    assert rules - set(FAULTS.values()) == set()


async def test_nothing_on_the_subject_is_no_violation(bus: Client) -> None:
    with pytest.raises(NothingAnswersError):
        await judged(runner_peer(bus), ["a call is answered"])


@pytest.fixture
async def remembering_runner() -> AsyncIterator[RunnerDouble]:
    async with http_runner(remembers=True) as double:

        async def answer(call: ReceivedCall) -> bytes:
            http = call.request["http"]
            return msgspec.json.encode(echo(http["headers"], call.payload))

        double.script = answer
        yield double


async def test_the_bridge_before_a_runner_with_a_memory_passes(
    bus: Client, nats_url: str, remembering_runner: RunnerDouble
) -> None:
    peer = runner_peer(bus, BRIDGE_KEYS.keys["worker"])
    # The double has no timeout of its own: that is the Runner's part, not the bridge's.
    names = [name for name in execute_cases(peer) if name != SLOW]
    async with executing(nats_url, remembering_runner.url):
        results = await judged(peer, names)
    assert failures(results) == {}


async def test_the_service_passes(
    tmp_path: Path, nats_url: str, database: str, pool: asyncpg.Pool
) -> None:
    installed = await install(pool)
    command = command_line(tmp_path, nats_url)
    async with responders(1, tmp_path, database, nats_url):
        words = ("--key", "runner.json", "--install", str(installed.install_id))
        results = await command.json(
            *("conformance", "--side", "scheduler", "--endpoint", "POST /api/heartbeat"), *words
        )
    assert len(results) > 40
    assert [result for result in results if not result["passed"]] == []
    left = await pool.fetchval("SELECT count(*) FROM tenant_extension_schedule")
    assert left == 0


async def test_the_command_names_a_fault_and_exits_with_one(tmp_path: Path, nats_url: str) -> None:
    command = command_line(tmp_path, "nats://127.0.0.1:9")
    words = ("conformance", "--against", nats_url, "--key", "worker.json")
    async with connected(nats_url) as client, conforming_runner(client, KEYS, "forgets"):
        result = await command(*words)
    line = error_line(result, 1)
    assert line.startswith("1 of ")
    wrong = [text for text in result.out.splitlines() if not text.startswith("ok ")]
    fault = "one attempt, delivered twice, called the extension twice"
    assert wrong == [f"failed  a repeated delivery calls once: {fault}"]


async def test_usage_errors_are_one_line(tmp_path: Path, nats_url: str) -> None:
    command = command_line(tmp_path, nats_url)
    nothing = await command("conformance", "--key", "worker.json")
    assert error_line(nothing, 8) == "nothing answers ext.runner.execute"
    wrong = await command("conformance", "--key", "runner.json")
    assert error_line(wrong, 2) == "runner.json: no key can sign for ext.runner"
    scheduler = ("conformance", "--side", "scheduler", "--key", "runner.json")
    assert error_line(await command(*scheduler), 2) == "--install '': not a UUID"
    (tmp_path / "call.json").write_text("{}")
    document = await command("conformance", "--key", "worker.json", "--document", "call.json")
    assert error_line(document, 2).startswith("call.json: not an execute document: ")


async def test_the_command_writes_the_vectors(tmp_path: Path, nats_url: str) -> None:
    await command_line(tmp_path, nats_url).ok("conformance", "--vectors", "vectors")
    tokens = json.loads((tmp_path / "vectors" / "tokens.json").read_text())
    assert {token["accepted"] for token in tokens} == {True, False}
