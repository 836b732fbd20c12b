"""Names on the bus, and how instants are written."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import base64url
from contracts.errors import NUMBERS, Code, ServiceError
from contracts.events import EventType
from contracts.subjects import admin_subject, event_subject, host_subject
from contracts.times import read_time, wire_time


def test_subjects_are_those_of_the_contract() -> None:
    assert host_subject("getEndpoints") == "ext.scheduler.getEndpoints"
    assert admin_subject("runNow") == "ext.scheduler.admin.runNow"


def test_the_dot_of_an_event_type_stays() -> None:
    subject = event_subject("tenant_1", "install-1", EventType.RUN_FAILED)
    assert subject == "ext.scheduler.events.tenant_1.install-1.run.failed"


@pytest.mark.parametrize("tenant", ["a.b", "*", ">", "a b", "é", "a\nb", "~", "~YS5i"])
def test_a_tenant_that_is_no_plain_token_appears_as_base64url(tenant: str) -> None:
    token = event_subject(tenant, "i", "run.failed").split(".")[3]
    assert token[0] == "~"
    assert base64url.decode(token[1:].encode()).decode() == tenant


def test_an_encoded_tenant_never_has_the_subject_of_a_plain_one() -> None:
    # YS5i is a tenant that the platform may have, and the base64url of a.b.
    tenants = ["a.b", "YS5i", "~YS5i", "ys5i", "A.B", "~", "a.b ", "~~YS5i"]
    subjects = [event_subject(tenant, "i", "run.failed") for tenant in tenants]
    assert len(set(subjects)) == len(tenants)


@given(st.text(min_size=1, max_size=8), st.text(min_size=1, max_size=8))
def test_tenants_share_no_subject_and_no_prefix_of_tokens(one: str, other: str) -> None:
    first, second = (event_subject(t, "i", "run.failed").split(".") for t in (one, other))
    assert (first[3] == second[3]) == (one == other)
    assert len(first) == len(second) == 7


@pytest.mark.parametrize(("tenant", "install"), [("", "i"), ("t", ""), ("t", "a.b"), ("t", ">")])
def test_no_event_goes_to_a_broken_subject(tenant: str, install: str) -> None:
    with pytest.raises(ValueError, match="one token"):
        event_subject(tenant, install, "run.failed")


@given(st.binary())
def test_base64url_has_one_spelling(data: bytes) -> None:
    assert base64url.decode(base64url.encode(data)) == data
    assert b"=" not in base64url.encode(data)


@given(st.text("ABCDEFGH-_+/= \n", max_size=12))
def test_base64url_accepts_only_what_it_writes(text: str) -> None:
    try:
        data = base64url.decode(text.encode())
    except ValueError:
        return
    assert base64url.encode(data).decode() == text


@pytest.mark.parametrize(
    ("instant", "text"),
    [
        (datetime(2026, 3, 29, 1, 30, tzinfo=UTC), "2026-03-29T01:30:00.000Z"),
        (datetime(2026, 3, 29, 1, 30, 0, 999_999, tzinfo=UTC), "2026-03-29T01:30:00.999Z"),
        (
            datetime(2026, 3, 29, 1, 30, tzinfo=timezone(timedelta(hours=5, minutes=30))),
            "2026-03-28T20:00:00.000Z",
        ),
        (datetime(2026, 3, 29, 1, 30).replace(tzinfo=None), "2026-03-29T01:30:00.000Z"),  # noqa: DTZ001 - as columns without a zone give it
    ],
)
def test_instants_are_utc_with_milliseconds(instant: datetime, text: str) -> None:
    assert wire_time(instant) == text


def test_instants_of_any_offset_are_read_as_utc() -> None:
    expected = datetime(2026, 3, 28, 20, 0, tzinfo=UTC)
    for text in ("2026-03-28T20:00:00Z", "2026-03-29T01:30:00.000+05:30", "2026-03-28t20:00:00z"):
        assert read_time(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2026-03-28",
        "2026-03-28T20:00:00",
        "20:00Z",
        "2026-W13-6T20:00:00Z",
        "0001-01-01T00:00:00+01:00",
    ],
)
def test_a_malformed_instant_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_time(text)


def test_every_code_has_its_number_and_its_body() -> None:
    assert set(NUMBERS) == set(Code)
    body = ServiceError(Code.RATE_LIMITED, "Slow down", retry_after_ms=1500).body()
    assert (body.success, body.code, body.error, body.retry_after_ms) == (
        False,
        Code.RATE_LIMITED,
        "Slow down",
        1500,
    )
