"""Which schedules go along with an install, by plain values."""

from uuid import UUID

from service.rules.endpoints import EndpointManifest
from service.rules.remap import EndpointKey, RemapCandidate, key_of, remap

A, B, C = (UUID(int=number) for number in (1, 2, 3))
NEW = UUID(int=100)
KEY: EndpointKey = ("POST", "/a")
THERE = [(NEW, " post ", "//a")]


def pinned(
    id_: UUID,
    key: EndpointKey | None = KEY,
    *,
    enabled: bool = True,
    marked: bool = False,
    driven_by_other: bool = False,
) -> RemapCandidate:
    return RemapCandidate(id_, key, enabled, marked, driven_by_other)


def test_method_and_path_are_compared_in_normal_form() -> None:
    assert key_of(" post", "a//b") == ("POST", "/a/b")
    assert remap([pinned(A)], THERE, EndpointManifest()).targets == {A: NEW}


def test_an_unknown_endpoint_is_missing() -> None:
    assert key_of(None, "/a") is None
    plan = remap([pinned(A, None)], THERE, EndpointManifest())
    assert (plan.missing, plan.blocking, plan.lost) == ([A], [A], [A])


def test_an_endpoint_that_is_not_schedulable_is_missing() -> None:
    withheld = EndpointManifest(withheld=frozenset({KEY}))
    assert remap([pinned(A)], THERE, withheld).missing == [A]
    assert remap(
        [pinned(A, ("DELETE", "/a"))], [(NEW, "DELETE", "/a")], EndpointManifest()
    ).missing == [A]


def test_a_disabled_schedule_blocks_unless_it_is_marked() -> None:
    other: EndpointKey = ("POST", "/gone")
    schedules = [
        pinned(A, other, enabled=False),
        pinned(B, other, enabled=False, marked=True),
        pinned(C, other),
    ]
    plan = remap(schedules, THERE, EndpointManifest())
    assert plan.missing == [A, B, C]
    assert plan.blocking == [A, C]
    assert plan.lost == [C]


def test_only_marked_schedules_are_reenabled() -> None:
    schedules = [
        pinned(A, enabled=False),
        pinned(B, enabled=False, marked=True),
        pinned(C, enabled=True, marked=True),
    ]
    plan = remap(schedules, THERE, EndpointManifest())
    assert plan.reenable == [B]
    assert plan.missing == []


def test_what_another_runner_would_go_on_firing_is_held_and_never_switched() -> None:
    schedules = [
        pinned(A, None, driven_by_other=True),
        pinned(B, None, driven_by_other=True, enabled=False),
        pinned(C, None),
    ]
    plan = remap(schedules, THERE, EndpointManifest())
    assert (plan.held, plan.lost, plan.missing) == ([A], [C], [A, B, C])
    returning = pinned(A, enabled=False, marked=True, driven_by_other=True)
    assert remap([returning], THERE, EndpointManifest()).reenable == []
