"""The answers that a Runner has given, by the idempotency key of the request.

As the platform's Runner it keeps failures of an extension too: a request with a known key never
reaches the extension again.
"""

from collections import OrderedDict

from contracts.execution import ExecuteResponse

MAX_ANSWERS = 1_000


class AnswerMemory:
    """The latest answers, at most ``MAX_ANSWERS``."""

    def __init__(self) -> None:
        self._answers: OrderedDict[str, ExecuteResponse] = OrderedDict()

    def get(self, key: str | None) -> ExecuteResponse | None:
        """Return the answer to a key, None where it is unknown or there is no key."""
        return None if key is None else self._answers.get(key)

    def keep(self, key: str | None, answer: ExecuteResponse) -> None:
        """Remember an answer, and forget the oldest beyond the limit."""
        if key is None:
            return
        self._answers[key] = answer
        if len(self._answers) > MAX_ANSWERS:
            self._answers.popitem(last=False)
