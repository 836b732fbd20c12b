"""The simulation of fleets: it loses nothing, and more of anything never makes it slower."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from bench.fleet_engine import Cores, EventClock, Thread
from bench.fleet_model import Costs, Fleet, Herd, simulate
from bench.fleet_needs import PROFILES, fleet_needs

COSTS = msgspec.json.decode(
    (Path(__file__).parents[2] / "bench" / "fleet_costs.json").read_bytes(), type=Costs
)
HERE = Fleet(workers=1, postgres_cores=2, shared=True)


def test_jobs_beyond_the_cores_share_them_fairly() -> None:
    clock, ended = EventClock(), dict[str, float]()
    cores = Cores(clock, 2)
    for name, cpu_s in (("a", 1.0), ("b", 1.0), ("c", 2.0)):
        cores.run(cpu_s, lambda name=name: ended.update({name: clock.now}))  # type: ignore[misc]  # bound here
    clock.run()
    assert ended["a"] == ended["b"] == pytest.approx(1.5)
    assert ended["c"] == pytest.approx(2.5), "alone at the end, on one core of the two"


def test_a_thread_does_one_thing_after_the_other() -> None:
    clock, ended = EventClock(), list[float]()
    thread = Thread(Cores(clock, 8))
    for _ in range(3):
        thread.run(1.0, lambda: ended.append(clock.now))
    clock.run()
    assert ended == pytest.approx([1.0, 2.0, 3.0])


@given(size=st.integers(1, 2_000), spread_s=st.integers(0, 60))
def test_each_of_a_herd_is_due_from_its_start_on(size: int, spread_s: int) -> None:
    herd = Herd(size, spread_s)
    for number in {0, size // 3, size // 2, size - 1}:
        start = herd.start_of(number)
        assert 0 <= start < max(1, spread_s)
        assert herd.due(start) > number
        assert start == 0 or herd.due(start - 0.5) <= number


@given(
    size=st.integers(1, 5_000),
    workers=st.integers(1, 4),
    spread_s=st.integers(0, 30),
    runner_s=st.sampled_from([0.0, 0.5]),
    shared=st.booleans(),
)
def test_everything_due_is_called_once_and_never_before_its_start(
    size: int, workers: int, spread_s: int, runner_s: float, shared: bool
) -> None:
    fleet = Fleet(workers=workers, postgres_cores=2, shared=shared, runner_s=runner_s)
    fired = simulate(size, COSTS, fleet, spread_s)
    assert 0 < fired.p50_s <= fired.p99_s <= fired.max_s <= fired.done_s
    assert fired.worker_busy <= 1 + 1e-6
    assert fired.postgres_busy <= 1 + 1e-6


def test_more_workers_and_cores_are_faster_until_the_other_is_the_limit() -> None:
    def done_s(workers: int, cores: float) -> float:
        return simulate(20_000, COSTS, Fleet(workers=workers, postgres_cores=cores)).done_s

    assert done_s(4, 8) < done_s(2, 8) < done_s(1, 8)
    assert done_s(8, 2) < done_s(8, 1)
    limit = 20_000 * COSTS.postgres_us / 1e6
    assert done_s(16, 1) == pytest.approx(limit, rel=0.1), "the database's one core"


def test_a_spread_takes_the_lateness_away() -> None:
    at_once, spread = (simulate(20_000, COSTS, HERE, spread_s) for spread_s in (0, 20))
    assert spread.max_s < at_once.p50_s / 2


@pytest.mark.parametrize(
    ("size", "processes", "done_s"),
    [
        (1_000, 1, 0.17),
        (10_000, 1, 1.82),
        (50_000, 1, 9.76),
        (1_000, 2, 0.14),
        (10_000, 2, 1.56),
        (50_000, 2, 7.29),
    ],
)
def test_costs_of_a_real_run_give_its_time(size: int, processes: int, done_s: float) -> None:
    """The real times and costs of docs/scaling.md, on two cores in a quiet hour."""
    two = replace(COSTS, worker_us=151, postgres_us=129, bus_us=10)
    costs = COSTS if processes == 1 else two
    fired = simulate(size, costs, Fleet(workers=processes, postgres_cores=2, shared=True))
    assert fired.done_s == pytest.approx(done_s, rel=0.2)


def test_answers_need_less_with_a_spread_and_more_databases_with_more_schedules() -> None:
    found = {(a.profile, a.schedules, a.spread_s): a for a in fleet_needs(COSTS)}
    herd = PROFILES[1].name
    assert found[herd, 10**8, 900].cells < found[herd, 10**8, 0].cells
    assert found[herd, 10**8, 900].workers < found[herd, 10**8, 0].workers / 5
    assert found[herd, 10**6, 0].cells == 1
    assert all(answer.max_s < 60 for answer in found.values())
