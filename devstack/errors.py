"""Errors of the development stack."""

INTERRUPTED_STATUS = 130


class StackError(Exception):
    """A component did not start, ended early or misbehaved; the message names it.

    ``status`` is the exit status for the program.
    """

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status
