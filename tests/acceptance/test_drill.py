"""The fault drill in its short form; `make drill` is the long one."""

import pytest

from tests.drill.checker import check
from tests.drill.drill import Options, run
from tests.drill.results import Expected


@pytest.mark.timeout(600)
async def test_no_slot_is_lost_or_doubled_while_everything_is_killed_and_restarted() -> None:
    said: list[str] = []
    options = Options(
        seed=4,
        schedules=240,
        installs=6,
        faults_for_s=8,
        gap_s=1.5,
        least_faults=3,
        calm=False,
    )
    history = await run(options, said.append)
    results = check(history)
    assert results.violations == [], said
    assert len(history.faults) >= 3
    assert results.expected[Expected.FIRED] + results.expected[Expected.CAUGHT_UP] > 50
    assert any(probe.answered is not None for probe in history.probes)
    assert results.expected[Expected.KEPT] == len(history.changes)
