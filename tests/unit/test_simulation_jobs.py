"""Simulations in processes of their own: what becomes of one that fails."""

from pathlib import Path

import msgspec
import pytest

from tests.simulation.jobs import SEEDS_OF_A_JOB, FailedJobError, results, run_in_processes
from tests.simulation.machine import WorldSize

CLEAN = {"violations": {"slot twice": 0}}
VIOLATED = {"violations": {"slot twice": 1}}


def test_each_process_that_leaves_no_result_is_named_with_its_status_and_command() -> None:
    with pytest.raises(FailedJobError) as caught:
        run_in_processes(2, 5, 10, WorldSize(schedules=1, slots=10), "no such fault")
    told = str(caught.value).splitlines()
    for line, seed in zip(told, (5, 5 + SEEDS_OF_A_JOB), strict=True):
        assert line.startswith("A simulation ended with status 2 and left no result: python -m")
        assert f"--seed {seed} " in line


@pytest.mark.parametrize(
    ("status", "left", "reason"),
    [
        (0, CLEAN, None),
        (1, VIOLATED, None),
        (1, CLEAN, "status 1 and left a result of its first worlds alone"),
        (-9, CLEAN, "status -9 and left a result of its first worlds alone"),
        (0, None, "status 0 and left no result"),
    ],
)
def test_a_result_counts_where_it_is_that_of_all_worlds(
    tmp_path: Path, status: int, left: object, reason: str | None
) -> None:
    file = tmp_path / "result.json"
    if left is not None:
        file.write_bytes(msgspec.json.encode(left))
    if reason is None:
        assert results(["--seed 1"], [status], [file]) == [left]
        return
    with pytest.raises(FailedJobError, match=f"{reason}: .* --seed 1"):
        results(["--seed 1"], [status], [file])
