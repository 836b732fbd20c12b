"""The trace context that travels beside requests: W3C's ``traceparent`` and ``tracestate``."""

import re
from collections.abc import Mapping

from contracts.subjects import TRACE_HEADER, TRACE_STATE_HEADER

_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
)
LONGEST_STATE = 512


def trace_id(traceparent: str | None) -> str | None:
    """Give the id of the trace, 32 hexadecimal digits; None for anything but a valid header.

    A later version than 00 counts as far as it looks the same: a tail that nobody knows is not
    worth passing on.
    """
    found = _TRACEPARENT.fullmatch(traceparent) if traceparent else None
    return found[1] if found else None


def trace_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Give those headers of the trace context that may be passed on, which may be none."""
    traceparent, state = headers.get(TRACE_HEADER), headers.get(TRACE_STATE_HEADER)
    if traceparent is None or trace_id(traceparent) is None:
        return {}
    if not state or len(state) > LONGEST_STATE or not (state.isascii() and state.isprintable()):
        return {TRACE_HEADER: traceparent}
    return {TRACE_HEADER: traceparent, TRACE_STATE_HEADER: state}
