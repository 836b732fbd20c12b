"""Where SQL may stand: in constants of ``service/storage``, where one test prepares all of them."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

SQL = re.compile(
    r"\s*(SELECT\s.+\sFROM\s|INSERT INTO\s|UPDATE\s.+\sSET\s|DELETE FROM\s|WITH\s\w+ AS )",
    re.DOTALL,
)
PACKAGES = ("contracts", "runner_bridge", "service")
HOME = "service/storage/"
SCRIPT_WRITER = "service/storage/engine/migrate.py"
"""It writes a script for ``psql``, whose values cannot be parameters."""


def misplaced_sql(root: Path) -> Iterator[str]:
    """Yield a sentence for each statement outside the constants of ``service/storage``."""
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            place = path.relative_to(root).as_posix()
            if place == SCRIPT_WRITER:
                continue
            tree = ast.parse(path.read_text())
            for line in misplaced_lines(tree, inside=place.startswith(HOME)):
                yield (
                    f"{place}:{line}: a SQL statement belongs into a constant in capitals of a"
                    f" module below {HOME}, where every statement is prepared by a test"
                )


def misplaced_lines(tree: ast.Module, *, inside: bool) -> Iterator[int]:
    """Yield the lines of statements; constants of the module are right ``inside`` storage."""
    for node in tree.body:
        constant = isinstance(node, ast.Assign | ast.AnnAssign)
        if not (inside and constant):
            yield from (
                each.lineno
                for each in ast.walk(node)
                if isinstance(each, ast.expr) and SQL.match(text_of(each))
            )


def text_of(node: ast.AST) -> str:
    """Return the text of a literal, with a word for each value that it interpolates."""
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(part) or "value" for part in node.values)
    return str(node.value) if isinstance(node, ast.Constant) else ""
