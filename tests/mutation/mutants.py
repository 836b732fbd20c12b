"""Mutants of a module: its source with one small thing changed, in the code or in a statement.

What libraries for this leave out are the SQL statements, which hold half of the rules here. Texts
for people, annotations and log lines are left alone.
"""

import ast
import copy
import re
from collections.abc import Callable, Iterator

from msgspec import Struct


class Mutant(Struct, frozen=True):
    """One changed source; ``what`` says how, ``function`` in which one, by its qualified name."""

    line: int
    what: str
    source: str
    function: str | None


COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
OPERATIONS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.Mod: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
CALLS = {"min": "max", "max": "min", "any": "all", "all": "any", "sorted": "list"}
TYPES = re.compile(r"[\w.]+( \| [\w.]+)+")
LEFT_ALONE = {"annotation", "returns", "decorator_list", "type_params"}
SQL = re.compile(r"\b(SELECT|INSERT|UPDATE|DELETE)\b")
SQL_CHANGES: tuple[tuple[str, str], ...] = (
    (r"<=", "<"),
    (r">=", ">"),
    (r"(?<![<>])<(?![=>])", "<="),
    (r"(?<![<>-])>(?![=>])", ">="),
    (r"\bAND\b(?! NOT NULL)", "OR"),
    (r"\bOR\b", "AND"),
    (r"\bIS NOT NULL\b", "IS NULL"),
    (r"\bIS NULL\b", "IS NOT NULL"),
    (r"\bNOT EXISTS\b", "EXISTS"),
    (r"\+ 1\b", "+ 2"),
    (r"- 1\b", "- 2"),
    (r"\bDESC\b", "ASC"),
    (r"\bmin\(", "max("),
    (r"\bmax\(", "min("),
    (r"\bFOR UPDATE( OF \w+)?( SKIP LOCKED)?", ""),
    (r"\bFOR NO KEY UPDATE OF \w+", ""),
    (r"(?<=SKIP) LOCKED", " LOCKED"),
    (r"(?<=WHERE )(\w+\.\w+) = (\w+)", r"\1 <> \2"),
)


def mutants(source: str) -> Iterator[Mutant]:
    """Yield the mutants of a module, in the order of its lines."""
    tree = ast.parse(source)
    functions = list(_functions(tree, ""))
    for number, (node, change, what) in enumerate(_changes(tree)):
        twin = copy.deepcopy(tree)
        node, change, what = list(_changes(twin))[number]  # noqa: PLW2901 - the twin's own
        line = getattr(node, "lineno", 0)
        change()
        within = next((name for name, lines in functions if line in lines), None)
        yield Mutant(line, what, ast.unparse(ast.fix_missing_locations(twin)), within)


def _functions(node: ast.Module | ast.ClassDef, prefix: str) -> Iterator[tuple[str, range]]:
    """Yield the functions of a module and of its classes, with the lines of each."""
    for child in node.body:
        if isinstance(child, ast.ClassDef):
            yield from _functions(child, f"{prefix}{child.name}.")
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{prefix}{child.name}", range(child.lineno, (child.end_lineno or 0) + 1)


def count(source: str) -> int:
    """Return how many mutants a module has."""
    return sum(1 for _ in _changes(ast.parse(source)))


Change = tuple[ast.AST, Callable[[], None], str]


def _changes(tree: ast.Module) -> Iterator[Change]:
    for node in _code(tree):
        yield from _of_operators(node)
        yield from _of_flow(node)
        yield from _of_values(node)


def _code(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what is run: no annotation, no docstring, no log line, no default of a field."""
    yield node
    for name, value in ast.iter_fields(node):
        if name in LEFT_ALONE or (name == "keywords" and isinstance(node, ast.ClassDef)):
            continue
        for child in value if isinstance(value, list) else [value]:
            declared = isinstance(node, ast.ClassDef) and isinstance(child, ast.AnnAssign)
            if isinstance(child, ast.AST) and not declared and not _is_said(child):
                yield from _code(child)


def _is_said(node: ast.AST) -> bool:
    if not isinstance(node, ast.Expr):
        return False
    if isinstance(node.value, ast.Constant):
        return True
    call = node.value
    return isinstance(call, ast.Call) and ast.unparse(call.func).startswith(
        ("log.", "self._metrics")
    )


def _set(node: ast.AST, name: str, value: object) -> Callable[[], None]:
    return lambda: setattr(node, name, value)


def _of_operators(node: ast.AST) -> Iterator[Change]:
    if isinstance(node, ast.Compare):
        for place, operator in enumerate(node.ops):
            other = COMPARISONS[type(operator)]
            ops = [*node.ops[:place], other(), *node.ops[place + 1 :]]
            yield node, _set(node, "ops", ops), f"{_name(operator)} to {other.__name__}"
    elif isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in OPERATIONS:
        swapped = OPERATIONS[type(node.op)]
        if not _is_type(node):
            yield node, _set(node, "op", swapped()), f"{_name(node.op)} to {swapped.__name__}"
    elif isinstance(node, ast.BoolOp):
        turned = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        yield node, _set(node, "op", turned), f"{_name(node.op)} to {_name(turned)}"
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
        plus = ast.UAdd() if isinstance(node.op, ast.USub) else None
        if plus is not None:
            yield node, _set(node, "op", plus), "minus to plus"
        else:
            twice = ast.UnaryOp(ast.Not(), node.operand)
            yield node, _set(node, "operand", twice), "not dropped"


def _is_type(node: ast.BinOp | ast.AugAssign) -> bool:
    """Return whether it is a union of types, such as in a call of isinstance."""
    if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.BitOr):
        return False
    return TYPES.fullmatch(ast.unparse(node)) is not None


def _of_flow(node: ast.AST) -> Iterator[Change]:
    if isinstance(node, ast.If | ast.IfExp):
        yield node, _set(node, "test", ast.UnaryOp(ast.Not(), node.test)), "condition negated"
    elif isinstance(node, ast.Return) and node.value is not None and not _is_none(node.value):
        yield node, _set(node, "value", ast.Constant(None)), "returns None"
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CALLS:
        other = CALLS[node.func.id]
        if not (other == "list" and node.keywords):
            yield node, _set(node.func, "id", other), f"{node.func.id} to {other}"
    for name in ("body", "orelse", "finalbody"):
        statements = getattr(node, name, None)
        if isinstance(statements, list) and not isinstance(node, ast.Module | ast.ClassDef):
            for place, statement in enumerate(statements):
                if _can_go(statement):
                    rest = [*statements[:place], ast.Pass(), *statements[place + 1 :]]
                    what = f"{type(statement).__name__} dropped"
                    yield statement, _set(node, name, rest), what


def _can_go(statement: ast.AST) -> bool:
    if isinstance(statement, ast.Expr):
        return not _is_said(statement)
    return isinstance(statement, ast.AugAssign | ast.Raise | ast.Continue | ast.Break)


def _of_values(node: ast.AST) -> Iterator[Change]:
    if not isinstance(node, ast.Constant):
        return
    value = node.value
    if isinstance(value, bool):
        yield node, _set(node, "value", not value), f"{value} to {not value}"
    elif isinstance(value, int | float):
        yield node, _set(node, "value", value + 1), f"{value} to {value + 1}"
    elif isinstance(value, str) and SQL.search(value):
        for pattern, replacement in SQL_CHANGES:
            for found in re.finditer(pattern, value):
                changed = value[: found.start()] + found.expand(replacement) + value[found.end() :]
                if changed != value:
                    place = value[found.start() :].partition("\n")[0]
                    what = f"{found[0]!r} to {found.expand(replacement)!r} at {place!r}"
                    yield node, _set(node, "value", changed), what


def _is_none(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _name(node: ast.AST) -> str:
    return type(node).__name__
