"""``new``: writes a small extension that works, to start from."""

import re
from collections.abc import Mapping
from enum import StrEnum
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template
from types import MappingProxyType

from contracts.publish.typescript_extension import extension_declarations
from devstack.errors import StackError
from runner_bridge.dev_runner.build import WIT

NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")
SUFFIX = ".template"


class Language(StrEnum):
    """What an extension is written in."""

    PYTHON = "python"
    JAVASCRIPT = "javascript"
    TYPESCRIPT = "typescript"


TEMPLATES: Mapping[Language, tuple[str, ...]] = MappingProxyType(
    {
        Language.PYTHON: ("common", "python"),
        Language.JAVASCRIPT: ("common", "node", "javascript"),
        Language.TYPESCRIPT: ("common", "node", "typescript"),
    }
)
"""The directories of templates that make an extension."""


def write_extension(directory: Path, language: Language = Language.PYTHON) -> list[Path]:
    """Write an extension named as ``directory``; return its files.

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
    for path, text in sorted(contents(name, language).items()):
        file = directory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        files.append(file)
    return files


def contents(name: str, language: Language) -> dict[Path, str]:
    """Return the text of each file of an extension."""
    templates = resources.files("devstack") / "templates"
    texts = {
        path: Template(template.read_text()).substitute(name=name)
        for part in TEMPLATES[language]
        for template, path in _templates(templates / part)
    }
    if language is not Language.PYTHON:
        # Packaging leaves out files whose name begins with a dot.
        texts[Path(".gitignore")] = texts.pop(Path("gitignore"))
        texts[Path("alga-extension.d.ts")] = extension_declarations()
        texts |= {Path("wit") / file.name: file.read_text() for file in sorted(WIT.glob("*.wit"))}
    return texts


def _templates(directory: Traversable, above: Path = Path()) -> list[tuple[Traversable, Path]]:
    """Return each template with the path of the file that it becomes."""
    found = []
    for entry in sorted(directory.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            found += _templates(entry, above / entry.name)
        else:
            found.append((entry, above / entry.name.removesuffix(SUFFIX)))
    return found
