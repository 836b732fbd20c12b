"""What several operations write in the same way is written by one statement each."""

import ast
import re
from collections.abc import Iterable, Iterator

import pytest

from tests.support.sources import Source, is_python, sources

# The one module that may contain the text of a statement. Others call its function, or put its text
# into a statement of their own as a common table expression.
HOMES = {
    r"DELETE FROM ext_scheduler\.timers\b": "service/storage/schedules/timers.py",
    r"UPDATE tenant_extension_schedule\b.*\benabled = false\b": (
        "service/storage/schedules/disabling.py"
    ),
    r"INSERT INTO ext_scheduler\.audit\b": "service/storage/records/audit.py",
    r"INSERT INTO ext_scheduler\.outbox\b": "service/storage/records/outbox.py",
}


def strings(tree: ast.AST) -> Iterator[str]:
    """Return every string of a module; of a formatted one, what stands between its values."""
    pieces: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            constants = [value for value in node.values if isinstance(value, ast.Constant)]
            pieces.update(map(id, constants))
            yield " … ".join(str(constant.value) for constant in constants)
        elif isinstance(node, ast.Constant) and id(node) not in pieces:
            yield str(node.value)


def writers(pattern: str, modules: Iterable[Source]) -> list[str]:
    """Return the module of each string that contains such a statement."""
    statement = re.compile(pattern, re.DOTALL)
    return [
        module.path
        for module in modules
        for text in strings(ast.parse(module.text))
        if statement.search(text)
    ]


@pytest.mark.parametrize(("pattern", "home"), HOMES.items())
def test_each_shared_statement_is_in_one_module(pattern: str, home: str) -> None:
    modules = [s for s in sources() if is_python(s) and s.path.startswith("service/")]
    others = [path for path in writers(pattern, modules) if path != home]
    assert others == [], f"call the function of {home} instead"
    assert home in writers(pattern, modules), f"{home} does not have it"


@pytest.mark.parametrize(
    "text",
    [
        'REMOVE = "DELETE FROM ext_scheduler.timers WHERE tenant_id = $1"',
        'X = f"UPDATE tenant_extension_schedule s SET {cron}, enabled = false WHERE {where}"',
        'def f():\n    return "WITH x AS (INSERT INTO ext_scheduler.audit (op) VALUES (1))"',
        'X = f"""{made}\nINSERT INTO ext_scheduler.outbox (type)"""',
    ],
)
def test_a_duplicate_statement_is_reported_with_its_module(text: str) -> None:
    planted = Source("service/storage/runs/planted.py", text)
    found = [path for pattern in HOMES for path in writers(pattern, [planted])]
    assert found == ["service/storage/runs/planted.py"]
