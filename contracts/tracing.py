"""The trace context that travels with requests: W3C's ``traceparent`` and ``tracestate``."""

import re
from collections.abc import Mapping

from contracts.subjects import TRACE_HEADER, TRACE_STATE_HEADER

_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
)
MAX_STATE_CHARACTERS = 512


def trace_id(traceparent: str | None) -> str | None:
    """Return the id of the trace, 32 hexadecimal digits; None unless the header is valid.

    A later version than 00 is accepted only if it has the same form; unknown fields are not
    forwarded.
    """
    match = _TRACEPARENT.fullmatch(traceparent) if traceparent else None
    return match[1] if match else None


def trace_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of the trace context that may be forwarded, possibly none."""
    traceparent, state = headers.get(TRACE_HEADER), headers.get(TRACE_STATE_HEADER)
    if traceparent is None or trace_id(traceparent) is None:
        return {}
    if (
        not state
        or len(state) > MAX_STATE_CHARACTERS
        or not (state.isascii() and state.isprintable())
    ):
        return {TRACE_HEADER: traceparent}
    return {TRACE_HEADER: traceparent, TRACE_STATE_HEADER: state}
