"""Which trace headers are worth passing on."""

import pytest

from contracts.tracing import trace_headers, trace_id

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
VALID = f"00-{TRACE}-00f067aa0ba902b7-01"


def test_the_trace_of_a_valid_header_is_known() -> None:
    assert trace_id(VALID) == TRACE
    assert trace_id(VALID.replace("00-", "01-", 1)) == TRACE


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "00-zz",
        VALID.upper(),
        VALID + "\n",
        VALID + "-more",
        f"ff-{TRACE}-00f067aa0ba902b7-01",
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-{TRACE}-{'0' * 16}-01",
        VALID.replace("4", "\u0664"),
    ],
)
def test_an_invalid_trace_header_is_not_forwarded(text: str | None) -> None:
    assert trace_id(text) is None
    assert trace_headers({} if text is None else {"traceparent": text, "tracestate": "a=b"}) == {}


def test_a_valid_trace_state_is_forwarded() -> None:
    both = {"traceparent": VALID, "tracestate": "vendor=1"}
    assert trace_headers({**both, "other": "x"}) == both
    for state in ("", "a=\r\nb", "a=ä", "a" * 513):
        assert trace_headers({**both, "tracestate": state}) == {"traceparent": VALID}
