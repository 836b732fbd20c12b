"""How a command fails: one line for a person, and an exit status for a program.

The statuses are documented in docs/command-line.md; a program may rely on them.
"""

from collections.abc import Mapping
from types import MappingProxyType

from contracts.errors import Code

EXIT_FAILED = 1
"""It was asked rightly and could not be done, or did not end well."""
EXIT_USAGE = 2
"""It was asked wrongly: an option, a file, a setting or a key; nothing was sent."""
EXIT_INVALID = 3
"""The service found the input wrong."""
EXIT_NOT_ALLOWED = 4
"""The key, tenant or permissions do not allow it."""
EXIT_NOT_FOUND = 5
"""There is no such thing, or none that this key may see."""
EXIT_CONFLICT = 6
"""What is there stands against it."""
EXIT_LIMIT = 7
"""A quota or rate is used up."""
EXIT_UNAVAILABLE = 8
"""NATS, the service or the database cannot be reached; trying again may help."""
EXIT_INTERRUPTED = 130
"""Ctrl-C."""
EXIT_READER_GONE = 141
"""Whoever read the output stopped reading, as a pipe into ``head`` does."""

STATUS_OF: Mapping[Code, int] = MappingProxyType(
    {
        Code.VALIDATION_FAILED: EXIT_INVALID,
        Code.UNAUTHORIZED: EXIT_NOT_ALLOWED,
        Code.DENIED: EXIT_NOT_ALLOWED,
        Code.NOT_FOUND: EXIT_NOT_FOUND,
        Code.CONFLICT: EXIT_CONFLICT,
        Code.SCHEDULE_REMAP_FAILED: EXIT_CONFLICT,
        Code.INSTALL_DISABLED: EXIT_CONFLICT,
        Code.QUOTA_EXCEEDED: EXIT_LIMIT,
        Code.RATE_LIMITED: EXIT_LIMIT,
        Code.INTERNAL: EXIT_FAILED,
        Code.UNAVAILABLE: EXIT_UNAVAILABLE,
    }
)
"""What each refusal of the service ends with."""


class CommandError(Exception):
    """Ends the program with ``message`` on standard error, where there is one, and ``status``."""

    def __init__(self, message: str, status: int = EXIT_FAILED) -> None:
        super().__init__(message)
        self.status = status
