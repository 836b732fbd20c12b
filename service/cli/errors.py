"""How a command fails: one line for a person, and an exit status for a program.

The statuses are documented in docs/command-line.md; scripts may rely on them.
"""

from collections.abc import Mapping
from types import MappingProxyType

from contracts.errors import Code

EXIT_FAILED = 1
"""A valid command failed, or what it started did."""
EXIT_USAGE = 2
"""Usage error: an invalid option, file, setting or key; no request was sent."""
EXIT_INVALID = 3
"""The service rejected the input."""
EXIT_NOT_ALLOWED = 4
"""Not permitted for this key, tenant or set of permissions."""
EXIT_NOT_FOUND = 5
"""Not found, or not visible to this key."""
EXIT_CONFLICT = 6
"""Conflict with the current state."""
EXIT_LIMIT = 7
"""A quota or rate limit is exhausted."""
EXIT_UNAVAILABLE = 8
"""NATS, the service or the database is unavailable; a retry may succeed."""
EXIT_INTERRUPTED = 130
"""Interrupted by Ctrl-C."""
EXIT_BROKEN_PIPE = 141
"""The reader of the output closed the pipe, as ``head`` does."""

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
"""Exit status by error code of the service."""


class CommandError(Exception):
    """Ends the program with ``status``, and ``message`` on standard error unless it is empty."""

    def __init__(self, message: str, status: int = EXIT_FAILED) -> None:
        super().__init__(message)
        self.status = status
