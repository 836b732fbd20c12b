"""The trouble drill in its short form; `make drill` is the long one."""

import pytest

from tests.drill.checker import check
from tests.drill.drill import Options, run
from tests.drill.verdicts import Good


@pytest.mark.timeout(600)
async def test_no_slot_is_lost_or_doubled_while_everything_is_killed_and_restarted() -> None:
    said: list[str] = []
    options = Options(
        seed=4,
        schedules=240,
        installs=6,
        trouble_s=8,
        gap_s=1.5,
        least_faults=3,
        calm=False,
    )
    history = await run(options, said.append)
    verdicts = check(history)
    assert verdicts.bad == [], said
    assert len(history.troubles) >= 3
    assert verdicts.good[Good.FIRED] + verdicts.good[Good.CAUGHT_UP] > 50
    assert verdicts.good[Good.KEPT] == len(history.changes)
