"""``new``: writes a small extension that works, to start from."""

import re
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template

from devstack.errors import StackError

NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")
SUFFIX = ".template"


def write_extension(directory: Path) -> list[Path]:
    """Write a Python extension named as ``directory``; return its files.

    Raises StackError where the name is unusable or something is in the way.
    """
    name = directory.resolve().name
    if not NAME.fullmatch(name):
        raise StackError(
            f"{name!r} is no name for an extension: use lower-case letters, digits and hyphens,"
            " a letter first"
        )
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise StackError(f"{directory} is there already and not empty: choose another name")
    files = []
    for template, path in _templates(resources.files("devstack") / "templates" / "python"):
        file = directory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(Template(template.read_text()).substitute(name=name))
        files.append(file)
    return files


def _templates(directory: Traversable, above: Path = Path()) -> list[tuple[Traversable, Path]]:
    """Return each template with the path of the file that it becomes."""
    found = []
    for entry in sorted(directory.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            found += _templates(entry, above / entry.name)
        else:
            found.append((entry, above / entry.name.removesuffix(SUFFIX)))
    return found
