"""The conformance kit against the bridge and the development Runner, its extension compiled."""

from pathlib import Path

import msgspec
import pytest

from devstack.conformance.cases import run_cases
from devstack.conformance.execute import execute_cases
from devstack.conformance.runner_peer import RunnerPeer
from devstack.conformance.samples import execute_document, foreign_key
from tests.support.callers import connected
from tests.support.executions import executing
from tests.support.running_extensions import ROOT, development_runner, installed
from tests.support.tokens import KEYS


@pytest.mark.timeout(600)
async def test_the_bridge_before_the_development_runner_passes(
    tmp_path: Path, nats_url: str
) -> None:
    async with development_runner(tmp_path) as runner:
        document = msgspec.to_builtins(execute_document())
        content_hash = installed(ROOT / "examples" / "conformance", runner)
        document["context"]["content_hash"] = content_hash
        # Compiling is no part of what is judged, and ends with the first answer.
        await runner.execute(content_hash, "/call", method="POST", body=b"{}")
        key = KEYS.keys["worker"]
        async with connected(nats_url) as client, executing(nats_url, runner.url):
            peer = RunnerPeer(
                client=client,
                subject="ext.runner.execute",
                key=key,
                foreign=foreign_key(key),
                document=document,
            )
            cases = execute_cases(peer)
            results = [result async for result in run_cases("runner", cases, peer)]
    assert [result for result in results if not result.passed] == []
    assert len(results) == len(cases)
