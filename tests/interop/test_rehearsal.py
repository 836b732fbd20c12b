"""The rehearsal of a cut-over, at its shortest: one slot for each stage, about five minutes."""

import pytest

from tests.rehearsal.rehearsal import Options, run

pytestmark = pytest.mark.timeout(1200)


async def test_a_cut_over_and_back_fires_no_slot_twice_and_loses_none() -> None:
    said: list[str] = []
    result = await run(Options(each=5, slots=1), said.append)
    assert {tenant: counts.violated for tenant, counts in result.tenants.items()} == {
        "boss10": False,
        "boss12": False,
        "clock": False,
        "bare": False,
    }, (result, said)
    assert all(counts.by["service"] for counts in result.tenants.values()), result
    assert result.changes > 0
