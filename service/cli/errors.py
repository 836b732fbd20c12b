"""How a command fails: one line for a person, and an exit status for a program."""

EXIT_FAILED = 1
"""It was asked rightly and could not be done."""
EXIT_USAGE = 2
"""It was asked wrongly (also what an unknown option ends with)."""


class CommandError(Exception):
    """Ends the program with ``message`` on standard error and ``status``."""

    def __init__(self, message: str, status: int = EXIT_FAILED) -> None:
        super().__init__(message)
        self.status = status
