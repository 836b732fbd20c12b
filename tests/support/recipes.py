"""The recipes of CONTRIBUTING.md as data, and a check that names the file that was forgotten.

``python -m tests.support.recipes`` runs it on the repository, as ``make check`` does. The files are
read as text, so that one forgotten row does not hide the next behind an ImportError.
"""

import ast
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from msgspec import Struct

ROOT = Path(__file__).resolve().parents[2]

Present = Callable[[str, str], bool]
"""Whether a file's text has its part of the addition with this name."""


class Step(Struct, frozen=True):
    """A file to touch: ``path`` is a glob below the root, ``part`` says what belongs there."""

    path: str
    part: str
    present: Present


class Recipe(Struct, frozen=True):
    """What belongs to an addition. ``names`` reads those that exist from the text of ``source``."""

    kind: str
    source: str
    names: Callable[[str], list[str]]
    steps: tuple[Step, ...]


def forgotten(recipe: Recipe, root: Path) -> list[str]:
    """Return a sentence for each part that an existing addition lacks; it begins with the file."""
    texts = {step.path: read(root, step.path) for step in recipe.steps}
    return [
        f"{step.path}: {recipe.kind} `{name}` lacks {step.part}"
        for name in recipe.names((root / recipe.source).read_text())
        for step in recipe.steps
        if not step.present(texts[step.path], name)
    ]


def read(root: Path, pattern: str) -> str:
    """Return the text of the files that match a glob, one after the other."""
    return "\n".join(path.read_text() for path in sorted(root.glob(pattern)) if path.is_file())


def kebab(name: str) -> str:
    """Spell ``getEndpoints`` or ``next_run_at`` with hyphens."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower().replace("_", "-")


def camel(name: str) -> str:
    """Spell ``next_run_at`` as it is on the wire."""
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


def contains(template: str, renamed: dict[str, str] | None = None) -> Present:
    """Return a check for a regular expression in which ``NAME`` (``KEBAB``, ``CAMEL``) stands for
    the addition's name, or for what that is ``renamed`` to in this file.
    """

    def present(text: str, name: str) -> bool:
        here = (renamed or {}).get(name, name)
        pattern = template.replace("NAME", re.escape(here))
        pattern = pattern.replace("KEBAB", re.escape(kebab(here)))
        return bool(re.search(pattern.replace("CAMEL", re.escape(camel(here))), text, re.MULTILINE))

    return present


def all_of(*checks: Present) -> Present:
    """Return a check that passes where each of these does."""
    return lambda text, name: all(check(text, name) for check in checks)


def member_of(*classes: str, renamed: dict[str, str] | None = None) -> Present:
    """Return a check that each of these classes declares the member."""

    def present(text: str, name: str) -> bool:
        declared = members(text)
        here = (renamed or {}).get(name, name)
        return all(here in declared.get(each, ()) for each in classes)

    return present


def members(text: str) -> dict[str, list[str]]:
    """Return the annotated members of each class of a module."""
    return {
        node.name: [
            line.target.id
            for line in node.body
            if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name)
        ]
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ClassDef)
    }


def keys_of(variable: str) -> Callable[[str], list[str]]:
    """Return a function that reads the keys of the mapping assigned to ``variable``."""

    def keys(text: str) -> list[str]:
        for node in ast.parse(text).body:
            targets = node.targets if isinstance(node, ast.Assign) else []
            targets = [node.target] if isinstance(node, ast.AnnAssign) else targets
            if any(isinstance(target, ast.Name) and target.id == variable for target in targets):
                [table] = [each for each in ast.walk(node) if isinstance(each, ast.Dict)][:1]
                return [key.value for key in table.keys if is_text(key)]  # type: ignore[union-attr]  # is_text knows
        return []

    return keys


def is_text(node: ast.AST | None) -> bool:
    """Return whether a node is the literal of a text."""
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def key_in(variable: str) -> Present:
    """Return a check that the mapping assigned to ``variable`` has the name as a key."""
    return lambda text, name: name in keys_of(variable)(text)


def permitted(user: str, direction: str, subject: str) -> Present:
    """Return a check that ``nats.conf`` lets a user publish or subscribe to ``subject``.

    An entry may have wildcards; ``subject`` has ``NAME``, and its queue group after a space.
    """

    def present(text: str, name: str) -> bool:
        own = text.partition(f"user: {user},")[2].partition("user: ")[0]
        listed = own.partition(f"{direction}:")[2].partition("]")[0]
        wanted = subject.replace("NAME", name)
        entries = re.findall(r'"([^"]+)"', listed)
        return any(matches(entry, wanted) for entry in entries)

    return present


def matches(entry: str, wanted: str) -> bool:
    """Return whether a permission in the server's configuration covers subject and queue group."""
    pattern = re.escape(entry).replace(r"\*", r"[^.\s]+").replace(">", r"\S+")
    return re.fullmatch(pattern, wanted) is not None


def complaints(root: Path = ROOT) -> Iterator[str]:
    """Yield what is forgotten of every recipe."""
    from tests.support.recipe_steps import RECIPES  # noqa: PLC0415 - made of what is above
    from tests.support.sql_places import misplaced_sql  # noqa: PLC0415 - likewise

    for recipe in RECIPES:
        yield from forgotten(recipe, root)
    yield from misplaced_sql(root)


def main() -> None:
    """Print the complaints; exit with 1 where there are any."""
    found = list(complaints())
    for complaint in found:
        sys.stdout.write(f"{complaint}; see CONTRIBUTING.md\n")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
