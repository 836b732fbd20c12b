"""The caller's deadline: the header that says until when a caller waits for its reply."""


def deadline_passed(deadline: str | None, now: float) -> bool:
    """Return whether the caller has stopped waiting.

    ``deadline`` is the header's value in decimal Unix milliseconds, ``now`` in Unix seconds. A
    header that is missing, or is not such a number, sets no deadline.
    """
    if deadline is None or len(deadline) > 16 or not (deadline.isascii() and deadline.isdigit()):
        return False
    return int(deadline) <= now * 1000
