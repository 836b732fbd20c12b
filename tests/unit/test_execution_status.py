"""The judgement of a Runner's status, which bridge and worker share."""

import pytest

from contracts.execution import StatusClass, classify_status


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (200, StatusClass.SUCCESS),
        (204, StatusClass.SUCCESS),
        (399, StatusClass.SUCCESS),
        (100, StatusClass.FAILURE),
        (101, StatusClass.FAILURE),
        (199, StatusClass.FAILURE),
        (400, StatusClass.FAILURE),
        (599, StatusClass.FAILURE),
        (99, StatusClass.INVALID),
        (600, StatusClass.INVALID),
        (0, StatusClass.INVALID),
        (-1, StatusClass.INVALID),
        (4294967296, StatusClass.INVALID),
        (True, StatusClass.INVALID),
        (200.0, StatusClass.INVALID),
        ("200", StatusClass.INVALID),
        (None, StatusClass.INVALID),
    ],
)
def test_a_status_is_judged_by_its_range_and_type(status: object, expected: StatusClass) -> None:
    assert classify_status(status) is expected
