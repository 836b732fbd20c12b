"""Who uses the console, and what they may do."""

from collections.abc import Iterable

from msgspec import Struct

from contracts.context import ALL_TENANTS

READ = "extension:read"
WRITE = "extension:write"
PAYLOAD = "extension:payload"
"""To see payloads: a permission of the console alone; the service does not ask for it."""
PERMISSIONS = frozenset({READ, WRITE, PAYLOAD})


class Person(Struct, frozen=True, kw_only=True):
    """A person, by the name that the audit shows; ``tenant`` is ``*`` for all."""

    name: str
    tenant: str
    permissions: tuple[str, ...]

    @property
    def may_write(self) -> bool:
        """Return whether to offer changes."""
        return WRITE in self.permissions

    @property
    def may_see_payloads(self) -> bool:
        """Return whether to show payloads."""
        return PAYLOAD in self.permissions

    @property
    def is_operator(self) -> bool:
        """Return whether the person acts for all tenants."""
        return self.tenant == ALL_TENANTS


def normalised(permissions: Iterable[str]) -> tuple[str, ...]:
    """Return the permissions that the console knows, in one order: they are part of cache keys."""
    return tuple(sorted(PERMISSIONS.intersection(permissions)))
