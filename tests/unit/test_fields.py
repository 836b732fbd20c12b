"""Field errors: all at once, word for word, in the order of the input."""

import math
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from service.rules.endpoints import Selector
from service.rules.fields import (
    CREATE_FIELDS,
    UPDATE_FIELDS,
    check_create,
    check_schedule_id,
    check_update,
    order_errors,
)
from service.rules.limits import Limits

LIMITS = Limits()
ID = "0b2c7f0e-5d1a-4c39-9a43-1f6f0b9f7a11"
GOOD: dict[str, Any] = {"endpoint": "/a", "cron": "0 9 * * *"}


def create_errors(**fields: object) -> dict[str, str]:
    return dict(check_create({**GOOD, **fields}, LIMITS).errors)


def update_errors(**fields: object) -> dict[str, str]:
    return dict(check_update({"scheduleId": ID, **fields}, LIMITS).errors)


def test_a_full_create_is_read_and_trimmed() -> None:
    checked = check_create(
        {
            "endpoint": " post //a ",
            "cron": " 0 9 * * 1-5\t",
            "timezone": " Europe/Berlin ",
            "enabled": False,
            "name": "  Morning ",
            "payload": {"a": [1]},
            "unknown": object(),
        },
        LIMITS,
    )
    assert checked.errors == {}
    assert checked.endpoint == Selector(path="/a", method="POST")
    assert checked.cron is not None
    assert checked.cron.text == "0 9 * * 1-5"
    assert checked.timezone == "Europe/Berlin"
    assert checked.enabled is False
    assert checked.name == "Morning"
    assert checked.payload == {"a": [1]}


@pytest.mark.parametrize("empty", [{}, dict.fromkeys(["timezone", "enabled", "name", "payload"])])
def test_null_is_absent_in_a_create(empty: dict[str, None]) -> None:
    checked = check_create({**GOOD, **empty}, LIMITS)
    assert checked.errors == {}
    assert (checked.timezone, checked.enabled) == ("UTC", True)
    assert (checked.name, checked.payload) == (None, None)


def test_endpoint_and_cron_are_required_in_a_create() -> None:
    required = {"endpoint": "Required", "cron": "Required"}
    assert check_create({}, LIMITS).errors == required
    assert check_create({"endpoint": None, "cron": None}, LIMITS).errors == required


CASES: list[tuple[str, object, str]] = [
    ("endpoint", "", "Endpoint not found or not schedulable"),
    ("endpoint", "/" + "a" * 256, "Endpoint not found or not schedulable"),
    ("endpoint", "/a\0", "Endpoint not found or not schedulable"),
    ("endpoint", "/\ud800", "Endpoint not found or not schedulable"),
    ("endpoint", 5, "Wrong type (expected string)"),
    ("endpoint", ["/a"], "Wrong type (expected string)"),
    ("cron", "", "Invalid cron expression (expected 5 fields: m h dom mon dow)"),
    ("cron", "0 9 * * \0", "Invalid cron expression (unsupported characters)"),
    ("cron", "0 9 * * \ud800", "Invalid cron expression (unsupported characters)"),
    ("cron", "*/4 * * * *", "Cron too frequent (minimum interval is 5 minutes)"),
    ("cron", "0" * 129, "Cron expression too long"),
    ("cron", b"0 9 * * *", "Wrong type (expected string)"),
    ("cron", True, "Wrong type (expected string)"),
    ("timezone", "Mars/Olympus", "Invalid timezone"),
    ("timezone", "utc", "Invalid timezone"),
    ("timezone", "UTC\0", "Invalid timezone"),
    ("timezone", "\ud800", "Invalid timezone"),
    ("timezone", "x" * 64, "Invalid timezone"),
    ("timezone", "x" * 65, "Timezone too long"),
    ("timezone", 1, "Wrong type (expected string)"),
    ("enabled", "true", "Wrong type (expected boolean)"),
    ("enabled", 1, "Wrong type (expected boolean)"),
    ("name", "n" * 129, "Name too long"),
    ("name", "a\0b", "Invalid name"),
    ("name", "\ud800", "Invalid name"),
    ("name", 7, "Wrong type (expected string)"),
    ("payload", "{}", "Payload must be a JSON object or array"),
    ("payload", 0, "Payload must be a JSON object or array"),
    ("payload", [math.nan], "Payload must be JSON-serializable"),
    ("payload", {1: 2}, "Payload must be JSON-serializable"),
    ("payload", ["a" * 100_000], "Payload too large"),
]


@pytest.mark.parametrize(("field", "value", "message"), CASES)
def test_each_rule_has_its_message_in_create_and_update(
    field: str, value: object, message: str
) -> None:
    assert create_errors(**{field: value}) == {field: message}
    assert update_errors(**{field: value}) == {field: message}


def test_texts_are_measured_after_trimming() -> None:
    checked = check_create({**GOOD, "name": " " * 200 + "ä" * 128 + "\n"}, LIMITS)
    assert checked.name == "ä" * 128
    assert check_create({**GOOD, "name": "   "}, LIMITS).name is None
    assert check_create({**GOOD, "timezone": "  "}, LIMITS).timezone == "UTC"
    assert check_create({**GOOD, "timezone": "UTC" + " " * 99}, LIMITS).timezone == "UTC"


def test_all_errors_come_at_once_in_the_order_of_the_input() -> None:
    backwards = {
        "payload": 1,
        "name": 2,
        "enabled": 3,
        "timezone": 4,
        "cron": 5,
        "endpoint": 6,
        "expectedRevision": "7",
        "scheduleId": 8,
    }
    assert list(check_create(backwards, LIMITS).errors) == list(CREATE_FIELDS)
    assert list(check_update(backwards, LIMITS).errors) == list(UPDATE_FIELDS)


def test_valid_values_are_kept_alongside_errors() -> None:
    checked = check_create({"endpoint": "/a", "cron": "nonsense", "name": "n"}, LIMITS)
    assert checked.endpoint == Selector(path="/a")
    assert checked.name == "n"
    assert checked.cron is None


def test_an_update_keeps_absent_fields() -> None:
    checked = check_update({"scheduleId": ID.upper()}, LIMITS)
    assert checked.errors == {}
    assert checked.schedule_id == UUID(ID)
    assert checked.given == []
    for field in ("endpoint", "cron", "timezone", "enabled", "name", "payload"):
        assert getattr(checked, field) is UNSET
    assert checked.expected_revision is UNSET


def test_an_update_reads_the_given_fields() -> None:
    checked = check_update(
        {"name": " n ", "enabled": False, "timezone": "", "scheduleId": ID, "expectedRevision": 3},
        LIMITS,
    )
    assert checked.errors == {}
    assert checked.given == ["timezone", "enabled", "name"]
    assert (checked.name, checked.enabled, checked.timezone) == ("n", False, "UTC")
    assert checked.expected_revision == 3


def test_null_clears_name_and_payload_in_an_update() -> None:
    checked = check_update({"scheduleId": ID, "name": None, "payload": None}, LIMITS)
    assert checked.errors == {}
    assert checked.given == ["name", "payload"]
    assert checked.name is None
    assert checked.payload is None
    assert check_update({"scheduleId": ID, "name": " "}, LIMITS).name is None


def test_null_is_an_error_for_every_other_field_of_an_update() -> None:
    others = ["endpoint", "cron", "timezone", "enabled", "expectedRevision"]
    assert update_errors(**dict.fromkeys(others)) == {
        "endpoint": "Wrong type (expected string)",
        "cron": "Wrong type (expected string)",
        "timezone": "Wrong type (expected string)",
        "enabled": "Wrong type (expected boolean)",
        "expectedRevision": "Wrong type (expected integer)",
    }


@pytest.mark.parametrize("value", ["1", 1.0, True, [1]])
def test_the_expected_revision_is_an_integer(value: object) -> None:
    assert update_errors(expectedRevision=value) == {
        "expectedRevision": "Wrong type (expected integer)"
    }


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "Required"),
        (5, "Wrong type (expected string)"),
        (UUID(ID).bytes, "Wrong type (expected string)"),
        ("", "Invalid scheduleId"),
        (ID[:-1], "Invalid scheduleId"),
        (ID + "\n", "Invalid scheduleId"),
        (f" {ID}", "Invalid scheduleId"),
        (f"{{{ID}}}", "Invalid scheduleId"),
        (f"urn:uuid:{ID}", "Invalid scheduleId"),
        (ID.replace("-", ""), "Invalid scheduleId"),
        (ID.replace("0", "\u0660"), "Invalid scheduleId"),
        (ID.replace("0", "g"), "Invalid scheduleId"),
        ("\ud800" + ID[1:], "Invalid scheduleId"),
    ],
)
def test_malformed_ids_are_field_errors(value: object, message: str) -> None:
    assert check_schedule_id({"scheduleId": value}).errors == {"scheduleId": message}
    assert check_update({"scheduleId": value}, LIMITS).errors == {"scheduleId": message}


def test_ids_are_taken_in_either_case() -> None:
    assert check_schedule_id({"scheduleId": ID}).schedule_id == UUID(ID)
    assert check_schedule_id({"scheduleId": ID.upper()}).schedule_id == UUID(ID)
    assert check_schedule_id({}).errors == {"scheduleId": "Required"}


def test_field_limits_follow_the_settings() -> None:
    limits = Limits(
        min_interval_minutes=1, max_name_length=2, max_payload_length=10, max_payload_depth=2
    )
    raw = {"endpoint": "/a", "cron": "* * * * *", "name": "abc", "payload": [[[]]]}
    assert check_create(raw, limits).errors == {
        "name": "Name too long",
        "payload": "Payload must be JSON-serializable",
    }


def test_later_errors_keep_the_order_of_the_input() -> None:
    merged = order_errors(CREATE_FIELDS, {"installId": "x", "name": "b", "endpoint": "a"})
    assert list(merged.items()) == [("endpoint", "a"), ("name", "b"), ("installId", "x")]


raw_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.binary(max_size=5)
    | st.text(max_size=20)
    | st.sampled_from(["0 9 * * *", "/a", "UTC", ID]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.dictionaries(st.sampled_from(UPDATE_FIELDS), raw_values))
def test_no_input_makes_the_checks_crash(raw: dict[str, Any]) -> None:
    for checked in (check_create(raw, LIMITS), check_update(raw, LIMITS), check_schedule_id(raw)):
        assert all(message.strip() for message in checked.errors.values())
        msgspec.msgpack.encode(checked.errors)
        msgspec.json.encode(checked.errors)
