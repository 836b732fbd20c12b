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
    """Yield every statement that is a constant of its module, itself or as a member of a tuple."""
    for found in pkgutil.walk_packages(service.storage.__path__, "service.storage."):
        module = importlib.import_module(found.name)
        for name, value in vars(module).items():
            if name.isupper() and isinstance(value, str) and STATEMENT.match(value):
                yield Statement(f"{found.name.rpartition('.')[2]}.{name}", value)
