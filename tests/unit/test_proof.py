"""The page of proof says what the results say, and each promise is checked by something."""

import json
from pathlib import Path

import pytest

from tests.drill.results import Violation
from tests.mutation.mutants import mutants
from tests.simulation.violations import ViolationKind
from tests.support.proof_page import PAGE, PROMISES, PROOF, written


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
    assert all(results.get("planted", {"none": ["found"]}).values())


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
