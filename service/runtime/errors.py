"""Why a process cannot start or continue; it imports nothing, so that any command may."""


class CannotServeError(Exception):
    """The process cannot start or continue; the message is one line for a person."""


class CannotReachError(CannotServeError):
    """It cannot start because NATS or PostgreSQL is unavailable; retrying may help."""
