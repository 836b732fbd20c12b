"""Log lines of a flood: some in full, the rest as a count."""

import logging

import pytest

from service.runtime.line_sampler import LINES_PER_S, LineSampler
from tests.support.eventually import eventually

log = logging.getLogger("flood")


async def test_a_flood_of_one_kind_is_counted_and_hides_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    sampler = LineSampler(log, "request")
    assert [sampler.admits("missing") for _ in range(100)].count(True) == LINES_PER_S
    assert sampler.admits("signature")
    await eventually(lambda: caplog.records != [])
    (line,) = caplog.records
    assert line.getMessage() == "lines left out"
    assert line.__dict__["fields"] == {"of": "request", "kind": "missing", "count": 90}
    assert sampler.admits("missing")
