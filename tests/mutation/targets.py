"""Which tests each module is held against: those that are about it."""

from pathlib import Path

from msgspec import Struct

from tests.support.sources import ROOT

FAR = ("test_guides", "test_request_batcher", "test_hostile_bodies")
"""Tests that import a rule, and are about something else."""

BEHIND = {"text": ("test_fields", "test_payload"), "columns": ("test_capabilities",)}
"""Tests that use a rule by way of another one."""

UNIT = ROOT / "tests" / "unit"
RULES = sorted(
    str(file.relative_to(ROOT))
    for file in (ROOT / "service" / "rules").glob("*.py")
    if file.name != "__init__.py"
)


class Target(Struct, frozen=True):
    """A module and the test files that are run against each of its mutants, in this order."""

    module: str
    tests: tuple[str, ...]
    group: str


def rules() -> list[Target]:
    """Return the pure rules: every unit test that imports one is about it."""
    found = []
    for module in RULES:
        name = module.removesuffix(".py").replace("/", ".")
        parent, _, last = name.rpartition(".")
        tests = [
            str(file.relative_to(ROOT))
            for file in sorted(UNIT.glob("test_*.py"))
            if _imports(file, parent, last)
        ]
        tests += [f"tests/unit/{more}.py" for more in BEHIND.get(last, ())]
        found.append(Target(module, tuple(_own_first(last, tests)), "rules"))
    return found


def _imports(file: Path, parent: str, last: str) -> bool:
    text = file.read_text()
    return f"{parent}.{last} import" in text or any(
        line.startswith(f"from {parent} import") and last in line.replace(",", " ").split()
        for line in text.splitlines()
    )


def _own_first(last: str, tests: list[str]) -> list[str]:
    near = [test for test in tests if not any(far in test for far in FAR)]
    return sorted(near, key=lambda test: (f"test_{last}.py" not in test, last not in test))


PLANNER = (
    "planner",
    "planner_rounds",
    "changed_timing",
    "clock_ahead",
    "firing_isolation",
    "direct_claims",
)
CONSUMER = ("consumer", "queue_share", "lost_commit_answers", "firing_takeover")
FIRING = ("firing_calls", "claimed_attempts", "firing_retries", "firing_takeover", "failures")
CLAIMS = ("direct_claims", "firing_calls", "claimed_attempts")
LATER = ("lost_commit_answers", "locked_results")
"""Tests of what comes after an attempt was claimed or called."""
WORKERS = {
    "service/worker/planner.py": PLANNER,
    "service/worker/timer_plan.py": PLANNER,
    "service/worker/job_consumer.py": (
        "consumer",
        "consumer_care",
        "queue_share",
        "lost_commit_answers",
        "direct_claims",
        "firing_isolation",
        "scarce_resources",
    ),
    "service/worker/direct_claims.py": (*CLAIMS, "lost_commit_answers", "planner_rounds"),
    "service/worker/firing/attempt_store.py": (
        *FIRING,
        *LATER,
        "firing_isolation",
        "direct_claims",
    ),
    "service/worker/firing/decision.py": (*FIRING, "firing_isolation"),
    "service/worker/firing/run_executor.py": (
        "firing_records",
        *FIRING,
        *LATER,
        "firing_isolation",
        "direct_claims",
        "scarce_resources",
        "spread",
    ),
    "service/storage/schedules/timers.py": (
        "storage_timers",
        *PLANNER,
        "admin_installs",
        "maintenance",
    ),
    "service/storage/schedules/firing_state.py": ("storage_timers", *PLANNER),
    "service/storage/runs/occurrences.py": ("storage_occurrences", *PLANNER),
    "service/storage/runs/queue.py": (
        "storage_queue",
        *CONSUMER,
        "queue_listener",
        "firing_isolation",
    ),
    "service/storage/runs/direct_claims.py": ("storage_claims", *CLAIMS),
    "service/storage/runs/attempts.py": (
        "storage_claims",
        "storage_ends",
        "claimed_attempts",
        *FIRING,
    ),
    "service/storage/runs/results.py": ("storage_ends", *FIRING),
    "service/storage/runs/retry_bounds.py": ("storage_ends", "firing_retries", *FIRING),
    "service/storage/runs/updates.py": ("storage_ends", *FIRING),
}
"""The planner, the consumer, firing and their statements, with the tests on a real database."""
UNIT_TESTS = {
    "service/worker/timer_plan.py": (
        "tests/unit/test_timer_plan.py",
        "tests/unit/test_planning.py",
    ),
    "service/worker/firing/attempt_store.py": ("tests/unit/test_classify_run.py",),
    "service/worker/firing/decision.py": ("tests/unit/test_decision.py",),
    "service/storage/runs/occurrences.py": ("tests/unit/test_ids.py",),
}


def workers() -> list[Target]:
    """Return the modules of the worker that fire, and their statements."""
    found = []
    for module, names in WORKERS.items():
        tests = [f"tests/integration/test_{name}.py" for name in dict.fromkeys(names)]
        found.append(Target(module, (*UNIT_TESTS.get(module, ()), *tests), "workers"))
    return found


def targets() -> list[Target]:
    """Return all modules that are mutated."""
    return [target for target in [*rules(), *workers()] if target.tests]
