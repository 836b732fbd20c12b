"""The page of proof says what the results say, and each promise is checked by something."""

import json
from pathlib import Path

import pytest

from model.check import MUTATIONS
from tests.drill.planted_faults import PlantedFault
from tests.drill.results import Violation
from tests.mutation.changed import differing
from tests.mutation.mutants import mutants
from tests.simulation.planted import PLANTED
from tests.simulation.violations import ViolationKind
from tests.support.planted_results import PLANTED_RESULTS
from tests.support.proof_page import PAGE, PROMISES, PROOF, written
from tests.support.proof_planted import PLANTED_FAULTS, planted_table


def test_the_page_is_what_the_results_say() -> None:
    assert written(PAGE.read_text()) == PAGE.read_text(), "python -m tests.support.proof_page"


def test_each_promise_names_violations_that_are_looked_for() -> None:
    simulated, drilled = {kind.value for kind in ViolationKind}, {kind.value for kind in Violation}
    for promise in PROMISES:
        assert promise.simulation, promise.text
        assert simulated.issuperset(promise.simulation), promise.text
        assert promise.drill, promise.text
        assert drilled.issuperset(promise.drill), promise.text


@pytest.mark.parametrize("file", sorted(PROOF.glob("*.json")), ids=lambda file: file.stem)
def test_nothing_that_was_published_has_a_violation(file: Path) -> None:
    results = json.loads(file.read_text())
    assert set(results.get("violations", {}).values()) <= {0}


def test_each_fault_that_was_planted_in_a_run_was_found() -> None:
    planted = json.loads(PLANTED_RESULTS.read_text())
    assert planted["simulation"].keys() == PLANTED.keys()
    for check, faults in planted.items():
        for name, result in faults.items():
            assert result["found"], f"{check}: {name}"


def test_the_table_of_planted_faults_has_each_that_can_be_planted() -> None:
    names = [name for fault in PLANTED_FAULTS for name in fault.model]
    assert sorted(names) == sorted(case.name for case in MUTATIONS)
    assert {fault.simulation for fault in PLANTED_FAULTS} - {None} == PLANTED.keys()
    assert {fault.drill for fault in PLANTED_FAULTS} - {None} == {
        fault.value for fault in PlantedFault
    }


def test_a_fault_that_one_check_alone_has_found_is_named_as_such() -> None:
    model = [{"case": {"name": "no takeover"}, "error": True, "states": 35}]
    kept = {"simulation": {"no-hold": {"found": ["x"], "steps": 7, "seed": 5, "commit": "a1"}}}
    said = planted_table(model, kept)
    assert "By the model alone: nobody takes over." in said
    assert "By the simulation alone: runs of a schedule overlap." in said
    assert f"0 of the {len(PLANTED_FAULTS)} are found by at least two" in said


@pytest.mark.parametrize(
    ("source", "changed"),
    [
        ("def f(a, b):\n    return a < b", "a <= b"),
        ("def f(a, b):\n    return a + b", "a - b"),
        ("def f(a, b):\n    return a and b", "a or b"),
        ("def f(a):\n    if a:\n        g()", "if not a"),
        ("def f(a):\n    a.clear()\n    return 1", "pass"),
        ("LIMIT = 5", "LIMIT = 6"),
        ("TAKE = 'SELECT id FROM t WHERE due <= now() FOR UPDATE SKIP LOCKED'", "due < now()"),
        ("TAKE = 'SELECT id FROM t FOR UPDATE SKIP LOCKED'", "'SELECT id FROM t '"),
    ],
)
def test_a_mutant_is_the_module_with_one_change(source: str, changed: str) -> None:
    assert any(changed in mutant.source for mutant in mutants(source))


@pytest.mark.parametrize(
    "source", ["def f(a: int = None) -> 'x':\n    '''Do 1 + 1.'''", "log.info('5')"]
)
def test_what_nobody_runs_has_no_mutant(source: str) -> None:
    assert list(mutants(source)) == []


@pytest.mark.parametrize(
    ("before", "after", "names"),
    [
        ("A = 5\nB = 6", "A = 5\nB = 7", {"B"}),
        ("A = 5\nB = 2 * A\nC = 1", "A = 6\nB = 2 * A\nC = 1", {"A", "B"}),
        ("A.on = True\nB = 1", "A.on = False\nB = 1", {"A"}),
        ("def f():\n    return 1\nA = f()", "def f():\n    return 2\nA = f()", {"f", "A"}),
        ("class C:\n    pass\nA = C()", "class C:\n    pass\nA = C()", set()),
    ],
)
def test_a_mutant_changes_only_the_constants_that_differ(
    before: str, after: str, names: set[str]
) -> None:
    assert differing(before, after) == names


def test_a_mutant_names_the_function_that_it_changes() -> None:
    source = "A = 1\nclass C:\n    def f(self):\n        def g():\n            return 2\n"
    assert {mutant.function for mutant in mutants(source)} == {None, "C.f"}
