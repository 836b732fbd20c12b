"""How the development stack fails."""

INTERRUPTED = 130


class StackError(Exception):
    """A part did not start, ended early, or did not do what was expected; the message names it.

    ``status`` is what the program should exit with.
    """

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status
