"""Which spellings of a request target are the callback's, nearly the callback's, or others'."""

import pytest

from runner_bridge.callback_path import RequestTarget, TargetKind, read_target

ID = "7f0c8e9a-9a52-4e0b-8a43-0d6f3d8f0002"
EXACT = f"/api/internal/ext-scheduler/install/{ID}"

NEAR_MISSES = [
    f"{EXACT}/",
    f"{EXACT}/more",
    f"{EXACT};a=1",
    f"{EXACT}%2F",
    f"{EXACT}%00",
    "/api/internal/ext-scheduler",
    "/api/internal/ext-scheduler/",
    "/api/internal/ext-scheduler/install",
    "/api/internal/ext-scheduler/install/",
    "/api/internal/ext-scheduler/health",
    f"/{EXACT}",
    EXACT.replace("/ext-", "//ext-"),
    EXACT.replace("/ext-", "/./ext-"),
    EXACT.replace("/ext-", "/x/../ext-"),
    EXACT.replace("/ext-", "/x/%2e%2E/ext-"),
    EXACT.replace("/ext-", "%2Fext-"),
    EXACT.replace("/ext-", "%252Fext-"),
    EXACT.replace("/ext-", "\\ext-"),
    EXACT.replace("/ext-", "/%65xt-"),
    EXACT.replace("/ext-", "/%2565xt-"),
    EXACT.replace("/api", "/API"),
    EXACT.replace("install", "Install"),
    EXACT.replace("/internal", "/internal;v=1"),
    EXACT.replace("/internal", "/internal%20"),
    f"/other/../../..{EXACT}",
    f"{EXACT}/../{ID}",
    f"{EXACT}/?x=1",
    f"http://platform{EXACT}/",
]


@pytest.mark.parametrize("target", NEAR_MISSES)
def test_a_near_miss_is_never_forwarded(target: str) -> None:
    assert read_target(target).kind is TargetKind.NEAR_MISS


@pytest.mark.parametrize("target", [EXACT, f"http://bridge:1{EXACT}", f"HTTP://bridge{EXACT}"])
def test_the_exact_path_is_the_callback(target: str) -> None:
    assert read_target(target) == RequestTarget(TargetKind.CALLBACK, EXACT, ID)


def test_a_query_does_not_make_another_path() -> None:
    assert read_target(f"{EXACT}?a=/b") == RequestTarget(TargetKind.CALLBACK, f"{EXACT}?a=/b", ID)


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/api/internal/ext-storage/install/1?key=a%2Fb&x=%C3%A9",
        "/api/internal/ext-scheduler-2/install/1",
        "/api/internal/ext%20scheduler",
        "/x/api/internal/ext-scheduler",
        "/api//internal/../other/%2e%2e?/api/internal/ext-scheduler",
    ],
)
def test_another_path_is_forwarded_as_spelled(target: str) -> None:
    assert read_target(target) == RequestTarget(TargetKind.OTHER, target)


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("http://platform/a?b", "/a?b"),
        ("https://platform", "/"),
        ("http://platform?a=/b", "/?a=/b"),
    ],
)
def test_an_absolute_target_is_forwarded_by_its_path(target: str, path: str) -> None:
    assert read_target(target) == RequestTarget(TargetKind.OTHER, path)


@pytest.mark.parametrize(
    "target", ["*", "", "platform:443", "ftp://platform/a", "a/b", "/a#b", "/ü", "/\udcff"]
)
def test_a_target_without_a_usable_path_is_neither(target: str) -> None:
    assert read_target(target).kind is TargetKind.UNUSABLE
