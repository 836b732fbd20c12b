"""Admin inputs judged by their types, and cursors."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.admin import ADMIN_OPS
from contracts.inputs import MAX_CAPABILITIES
from contracts.times import Instant
from service.rules import cursors
from service.rules.admin_fields import check, in_order
from tests.wire.samples_admin import ADMIN_SAMPLES

ID = "7f0c8e9a-9a52-4e0b-8a43-0d6f3d8f0001"
BY_TIME: type[tuple[datetime, UUID]] = tuple[Instant, UUID]


def errors(op: str, **raw: Any) -> dict[str, str]:
    return check(raw, ADMIN_OPS[op].input).errors


@pytest.mark.parametrize("op", sorted(ADMIN_OPS))
def test_samples_encoded_by_the_contract_are_accepted(op: str) -> None:
    sample = ADMIN_SAMPLES[op][0]
    checked = check(msgspec.to_builtins(sample), ADMIN_OPS[op].input)
    assert (checked.errors, checked.request) == ({}, sample)


@pytest.mark.parametrize(
    ("op", "raw", "expected"),
    [
        ("uninstall", {}, {"installId": "Required"}),
        ("uninstall", {"installId": None}, {"installId": "Required"}),
        ("uninstall", {"installId": 3}, {"installId": "Wrong type (expected string)"}),
        ("uninstall", {"installId": ID + "\n"}, {"installId": "Invalid installId"}),
        ("uninstall", {"installId": ID, "more": 1}, {}),
        ("getSchedule", {"scheduleId": "x"}, {"scheduleId": "Invalid scheduleId"}),
        ("purgeTenant", {"tenantId": ""}, {"tenantId": "Invalid tenantId"}),
        ("purgeTenant", {"tenantId": "*"}, {"tenantId": "Invalid tenantId"}),
        ("purgeTenant", {"tenantId": "a\0"}, {"tenantId": "Invalid tenantId"}),
        ("purgeTenant", {"tenantId": "\ud800"}, {"tenantId": "Invalid tenantId"}),
        (
            "setTenantPaused",
            {"tenantId": "a", "paused": 1},
            {"paused": "Wrong type (expected boolean)"},
        ),
        ("listSchedules", {"limit": True}, {"limit": "Wrong type (expected integer)"}),
        ("listSchedules", {"limit": 201}, {"limit": "Must be between 1 and 200"}),
        ("listSchedules", {"limit": 0}, {"limit": "Must be between 1 and 200"}),
        ("listSchedules", {"limit": 1.0}, {"limit": "Wrong type (expected integer)"}),
        ("previewCron", {"cron": "x", "count": 51}, {"count": "Must be between 1 and 50"}),
        ("runHistory", {"status": ["error"]}, {"status": "Wrong type (expected string)"}),
        (
            "runHistory",
            {"status": "done"},
            {"status": "Must be one of error, queued, running, skipped, skipped_overlap, success"},
        ),
        (
            "registerInstall",
            {"tenantId": "t", "contentHash": "h", "manifest": [], "config": []},
            {
                "manifest": "Wrong type (expected object)",
                "config": "Wrong type (expected object)",
            },
        ),
    ],
)
def test_each_field_error_has_its_message(
    op: str, raw: dict[str, Any], expected: dict[str, str]
) -> None:
    assert errors(op, **raw) == expected


def test_errors_come_in_the_order_of_the_input() -> None:
    shape = ADMIN_OPS["createSchedule"].input
    mixed = {"payload": "c", "installId": "a", "unknown": "d", "cron": "b"}
    assert list(in_order(mixed, shape)) == ["installId", "cron", "payload", "unknown"]


def test_valid_values_are_kept_alongside_errors() -> None:
    checked = check({"tenantId": "t", "limit": 0}, ADMIN_OPS["listSchedules"].input)
    assert (checked.request, checked.values) == (None, {"tenantId": "t"})


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.sampled_from(sorted(ADMIN_OPS)), st.data())
def test_no_input_makes_the_field_checks_crash(op: str, data: st.DataObject) -> None:
    shape = ADMIN_OPS[op].input
    names = [shape.__struct_encode_fields__[n] for n in range(len(shape.__struct_fields__))]
    raw = data.draw(st.dictionaries(st.sampled_from(names), json_like))
    checked = check(raw, shape)
    assert (checked.request is None) == bool(checked.errors)


@given(st.datetimes(timezones=st.just(UTC)), st.uuids())
def test_a_cursor_decodes_to_what_was_encoded(at: datetime, id_: UUID) -> None:
    assert cursors.read(cursors.write(at, id_), BY_TIME) == (at, id_)


@given(st.text())
def test_other_texts_are_no_cursors(text: str) -> None:
    assert cursors.read(text, BY_TIME) is None


def test_a_page_ends_at_its_limit_or_when_it_is_large() -> None:
    assert cursors.fitting([1, 1, 1], 2) == 2
    assert cursors.fitting([1, 1], 2) == 2
    assert cursors.fitting([6, 6, 6], 3, budget=12) == 2
    assert cursors.fitting([20, 1], 3, budget=12) == 1
    assert cursors.fitting([], 3) == 0


@pytest.mark.parametrize(
    ("op", "raw"),
    [
        ("listSchedules", {"limit": 1}),
        ("listSchedules", {"limit": 200}),
        ("runHistory", {"status": "error"}),
        ("purgeTenant", {"tenantId": "t" * 255}),
        ("disableSchedules", {"installId": ID}),
        ("createSchedule", {"installId": ID, "cron": "* * * * *", "payload": {"a": 1}}),
        ("createSchedule", {"installId": ID, "cron": "* * * * *", "payload": [1]}),
    ],
)
def test_a_value_at_its_bound_is_kept(op: str, raw: dict[str, Any]) -> None:
    checked = check(raw, ADMIN_OPS[op].input)
    assert checked.errors == {}
    assert checked.values == raw


def test_a_value_of_several_types_names_them() -> None:
    wrong = errors("createSchedule", installId=ID, cron="* * * * *", payload="text")
    assert wrong == {"payload": "Wrong type (expected object or array)"}


def test_a_list_is_as_long_as_it_may_be_and_no_longer() -> None:
    body = {"tenantId": "t", "contentHash": "h"}
    manifest = {"name": "n", "publisher": "p", "version": "1"}

    def granting(count: int) -> dict[str, str]:
        grants = [f"cap:{number}" for number in range(count)]
        return errors("registerInstall", **body, manifest=manifest, grants=grants)

    assert granting(MAX_CAPABILITIES) == {}
    message = f"Too many entries (max {MAX_CAPABILITIES})"
    assert granting(MAX_CAPABILITIES + 1) == {"grants": message}


def test_no_more_than_a_hundred_errors_are_told() -> None:
    api = {"endpoints": [{"method": 1, "path": 1} for _ in range(80)]}
    manifest = {"name": "n", "publisher": "p", "version": "1", "api": api}
    body = {"tenantId": "t", "contentHash": "h", "manifest": manifest}
    assert len(errors("registerInstall", **body)) == 100
    api["endpoints"] = api["endpoints"][:30]
    assert len(errors("registerInstall", **body, grants=[1] * 60)) == 100
    many = errors("registerInstall", **{**body, "grants": [1] * 60, "manifest": {}})
    assert "grants[59]" in many
