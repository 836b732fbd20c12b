"""Why a process cannot start or continue; it imports nothing, so that any command may."""


class CannotServeError(Exception):
    """The process cannot start or continue; the message is one line for a person."""


class ProcessFailedError(CannotServeError):
    """A process of a group ended with an exit ``status`` of its own, negative for a signal."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class CannotReachError(CannotServeError):
    """It cannot start because NATS or PostgreSQL is unavailable; retrying may help."""
