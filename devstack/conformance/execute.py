"""The execute side: the kit sends as a worker does, a Runner (or the bridge before it) is judged.

The extension that is called answers as ``examples/conformance`` does: with the members of its
request's body as instructions (``status``, ``delayMs``, ``bytes``), and in JSON with ``nonce``, a
text that is new with each call, and the ``headers`` and ``body`` that it received.
"""

import time
from collections.abc import Mapping
from typing import Any

from contracts.context import Reason
from contracts.encoding import MAX_BODY_BYTES
from devstack.conformance.cases import Case, expect
from devstack.conformance.runner_peer import RunnerPeer
from devstack.conformance.tokens import token_cases

SHORT_LIMIT_MS = 2_000
NOT_AUTHORIZED, TOO_LATE = 401, 408

MALFORMED: Mapping[str, Mapping[str, Any] | bytes] = {
    "empty": b"",
    "not JSON": b"{",
    "not an object": b"[]",
    "without http": {"http": None},
    "without context": {"context": None},
    "path is a number": {"http": {"method": "POST", "path": 7}},
    "timeout_ms is 0": {"limits": {"timeout_ms": 0}},
    "timeout_ms is negative": {"limits": {"timeout_ms": -1}},
    "timeout_ms is a text": {"limits": {"timeout_ms": "1000"}},
    "providers is a text": {"providers": "cap:log.emit"},
}
"""What a document is replaced by, or the members that are replaced in a good one."""


async def _call(peer: RunnerPeer) -> None:
    (await peer.call().send()).expect_success()


async def _headers_reach_the_extension(peer: RunnerPeer) -> None:
    call = peer.call()
    seen = {k.lower(): v for k, v in (await call.send()).echo()["headers"].items()}
    for name, value in call.document["http"]["headers"].items():
        expect(name in seen, f"the extension does not see {name}")
        expect(seen[name] == value, f"the extension sees {name}: {seen[name]}, not {value}")


async def _body_reaches_the_extension(peer: RunnerPeer) -> None:
    sent = {"status": 200, "text": "ü ☃", "list": [1, None, 1.5]}
    seen = (await peer.call(sent).send()).echo()["body"]
    expect(seen == sent, f"the extension received the body {str(seen)[:80]}")


async def _unknown_members(peer: RunnerPeer) -> None:
    call = peer.call()
    call.document["later"] = {"x": 1}
    call.document["context"]["later"] = "x"
    call.document["http"]["later"] = [1]
    (await call.send()).expect_success()


async def _null_members(peer: RunnerPeer) -> None:
    call = peer.call()
    call.document["secret_envelope"] = None
    (await call.send()).expect_success()


async def _failure_passes(peer: RunnerPeer) -> None:
    for status in (404, 503):
        answer = await peer.call({"status": status}).send()
        seen = answer.response.status
        expect(seen == status, f"the extension answered {status}, the Runner {answer.shown}")


async def _repeated_delivery(peer: RunnerPeer) -> None:
    call = peer.call()
    first, second = [(await call.send()).echo()["nonce"] for _ in range(2)]
    expect(first == second, "one attempt, delivered twice, called the extension twice")


async def _next_attempt(peer: RunnerPeer) -> None:
    first = peer.call({"status": 500})
    failed = await first.send()
    expect(failed.response.status == 500, f"the extension failed with 500, seen {failed.shown}")
    following = first.next_attempt({"status": 200})
    succeeded = await following.send()
    expect(succeeded.succeeded, f"the second attempt was not carried out: {succeeded.shown}")
    headers = {k.lower(): v for k, v in succeeded.echo()["headers"].items()}
    expect(headers.get("x-alga-attempt") == "2", "the extension does not see the second attempt")
    key = headers.get("x-idempotency-key")
    expect(key == str(first.occurrence), f"the second attempt has the key {key} for the extension")


async def _new_occurrence(peer: RunnerPeer) -> None:
    first, second = [(await peer.call().send()).echo()["nonce"] for _ in range(2)]
    expect(first != second, "two occurrences called the extension once")


async def _deadline_passed(peer: RunnerPeer) -> None:
    past = int(time.time() * 1000) - 1
    (await peer.call().send(deadline_ms=past)).expect_failure(TOO_LATE)


async def _no_deadline(peer: RunnerPeer) -> None:
    (await peer.call().send(deadline_ms="soon")).expect_success()


async def _slow_extension(peer: RunnerPeer) -> None:
    call = peer.call({"delayMs": 4 * SHORT_LIMIT_MS})
    call.document["limits"] = {"timeout_ms": SHORT_LIMIT_MS}
    answer = await call.send()
    seen = answer.response.status
    expect(not answer.succeeded, "an extension that overran its timeout_ms succeeded")
    expect(seen >= 500 or seen in {408, 425, 429}, f"{answer.shown} would not be tried again")


async def _large_answer(peer: RunnerPeer) -> None:
    answer = await peer.call({"bytes": MAX_BODY_BYTES}).send()
    expect(not answer.succeeded, "an answer beyond 256 KiB is no success")


def _malformed(change: Mapping[str, Any] | bytes) -> Case[RunnerPeer]:
    async def case(peer: RunnerPeer) -> None:
        call = peer.call()
        if isinstance(change, bytes):
            call.body = change
        else:
            call.document |= change
        (await call.send()).expect_failure(400)

    return case


def _token(name: str) -> Case[RunnerPeer]:
    async def case(peer: RunnerPeer) -> None:
        call = peer.call()
        [token] = [token for token in token_cases(call.token_request()) if token.name == name]
        answer = await call.send(token=token)
        if token.reason is None:
            answer.expect_success()
        elif token.reason is Reason.EXPIRED:
            answer.expect_failure(NOT_AUTHORIZED, TOO_LATE)
        else:
            answer.expect_failure(NOT_AUTHORIZED)

    return case


def execute_cases(peer: RunnerPeer) -> dict[str, Case[RunnerPeer]]:
    """Return the cases by name."""
    tokens = [token for token in token_cases(peer.call().token_request()) if not token.timing]
    return {
        "a call is answered": _call,
        "headers reach the extension": _headers_reach_the_extension,
        "the body reaches the extension": _body_reaches_the_extension,
        "unknown members are ignored": _unknown_members,
        "null stands for absent": _null_members,
        "the extension's failure is passed on": _failure_passes,
        "a repeated delivery calls once": _repeated_delivery,
        "a further attempt calls again": _next_attempt,
        "each occurrence is called": _new_occurrence,
        "a passed deadline": _deadline_passed,
        "an unreadable deadline sets none": _no_deadline,
        "an extension that is too slow": _slow_extension,
        "an answer that is too large": _large_answer,
        **{f"document: {name}": _malformed(change) for name, change in MALFORMED.items()},
        **{f"context: {token.name}": _token(token.name) for token in tokens},
    }
