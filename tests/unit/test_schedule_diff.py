"""What differs between a stored schedule and a declared one."""

from typing import Any

import pytest

from service.rules.schedule_diff import MAX_TEXT, differences, texts


def fields(**changed: Any) -> dict[str, str | None]:
    values = {
        "endpoint": "sync",
        "cron": "0 * * * *",
        "timezone": "UTC",
        "enabled": True,
        "payload": None,
    }
    return dict(texts(**{**values, **changed}))


def differing(before: Any, after: Any) -> list[tuple[str, str | None, str | None]]:
    return [(each.field, each.before, each.after) for each in differences(before, after)]


def test_fields_are_texts() -> None:
    assert fields(payload={"b": 1, "a": [2]}, endpoint=None) == {
        "endpoint": None,
        "cron": "0 * * * *",
        "timezone": "UTC",
        "enabled": "true",
        "payload": '{"a":[2],"b":1}',
    }
    assert fields(enabled=False)["enabled"] == "false"


def test_an_empty_payload_is_not_none() -> None:
    assert (fields(payload={})["payload"], fields(payload=[])["payload"]) == ("{}", "[]")


def test_payloads_are_equal_in_any_order_of_their_members() -> None:
    one, other = {"a": {"x": 1, "y": 2}, "b": 3}, {"b": 3, "a": {"y": 2, "x": 1}}
    assert differences(fields(payload=one), fields(payload=other)) == []


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({}, []),
        ({"cron": "5 * * * *"}, [("cron", "0 * * * *", "5 * * * *")]),
        ({"endpoint": None}, [("endpoint", "sync", None)]),
        ({"payload": {}}, [("payload", None, "{}")]),
        (
            {"enabled": False, "timezone": "Asia/Tokyo"},
            [("timezone", "UTC", "Asia/Tokyo"), ("enabled", "true", "false")],
        ),
    ],
)
def test_only_what_differs_is_told_in_the_order_of_the_fields(
    changed: dict[str, Any], found: list[tuple[str, str | None, str | None]]
) -> None:
    assert differing(fields(), fields(**changed)) == found


def test_what_is_made_or_deleted_differs_by_what_it_has() -> None:
    some = {"cron": "0 * * * *", "payload": None}
    assert differing(None, some) == [("cron", None, "0 * * * *")]
    assert differing(some, None) == [("cron", "0 * * * *", None)]
    assert differing(None, None) == []


@pytest.mark.parametrize(
    ("length", "shown"),
    [
        (MAX_TEXT - 1, "x" * (MAX_TEXT - 1)),
        (MAX_TEXT, "x" * MAX_TEXT),
        (MAX_TEXT + 1, "x" * (MAX_TEXT - 1) + "…"),
    ],
)
def test_long_texts_are_cut_to_200_characters(length: int, shown: str) -> None:
    assert MAX_TEXT == 200
    assert differing({"payload": "x" * length}, {"payload": "y"}) == [("payload", shown, "y")]


def test_what_differs_behind_the_cut_is_told_all_the_same() -> None:
    (change,) = differences({"payload": "x" * 300 + "a"}, {"payload": "x" * 300 + "b"})
    assert change.before == change.after
