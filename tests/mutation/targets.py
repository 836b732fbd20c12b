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


def targets() -> list[Target]:
    """Return all modules that are mutated."""
    return [target for target in rules() if target.tests]
