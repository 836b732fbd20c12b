"""Every SQL statement of the storage modules, by module and name."""

import importlib
import pkgutil
import re
from collections.abc import Iterator

from msgspec import Struct

import service.storage

STATEMENT = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\b")


class Statement(Struct, frozen=True):
    """A constant that is a statement; ``name`` is ``module.CONSTANT``."""

    name: str
    sql: str


def statements() -> Iterator[Statement]:
    """Every statement that is a constant of its module, itself or as a member of a tuple."""
    for found in pkgutil.iter_modules(service.storage.__path__):
        module = importlib.import_module(f"service.storage.{found.name}")
        for name, value in vars(module).items():
            if name.isupper() and isinstance(value, str) and STATEMENT.match(value):
                yield Statement(f"{found.name}.{name}", value)
