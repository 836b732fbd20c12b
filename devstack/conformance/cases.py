"""Cases by name, and how one comes to its result."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TypeVar

from msgspec import Struct

Peer = TypeVar("Peer")
Case = Callable[[Peer], Awaitable[None]]
"""Asks the peer; raises Violation where the answer is not what the contract says."""


class Violation(Exception):
    """The peer breaks the contract; the message is one line that says what was seen."""


class CaseResult(Struct, frozen=True, omit_defaults=True):
    """Whether a case passed; ``fault`` says what was seen instead."""

    side: str
    case: str
    passed: bool
    fault: str = ""


async def run_cases(
    side: str, cases: Mapping[str, Case[Peer]], peer: Peer
) -> AsyncIterator[CaseResult]:
    """Run the cases one after another; a failed case does not stop the others."""
    for name, case in cases.items():
        try:
            await case(peer)
        except Violation as violation:
            yield CaseResult(side, name, passed=False, fault=str(violation))
        else:
            yield CaseResult(side, name, passed=True)


def expect(holds: bool, fault: str) -> None:
    """Raise Violation with ``fault`` unless it holds."""
    if not holds:
        raise Violation(fault)
