"""The capabilities that an install holds in effect."""

import json

import pytest

from contracts.capabilities import DEFAULTS, KNOWN, SCHEDULER
from service.rules.capabilities import effective

HTTP = "cap:http.fetch"


def held(
    granted: object = None,
    providers: object = None,
    declared: object = None,
    *,
    declared_is_granted: bool = False,
) -> set[str]:
    """Return what is held beyond the defaults."""
    granted, providers, declared = (
        None if column is None else json.dumps(column) for column in (granted, providers, declared)
    )
    found = effective(granted, providers, declared, declared_is_granted=declared_is_granted)
    assert found >= DEFAULTS
    return set(found - DEFAULTS)


def test_capability_names_are_those_of_the_platform() -> None:
    assert len(KNOWN) == 11
    assert SCHEDULER in KNOWN
    assert {"cap:context.read", "cap:log.emit", "cap:user.read"} == DEFAULTS


def test_nothing_granted_leaves_the_defaults() -> None:
    assert held() == set()
    assert held(declared=[SCHEDULER]) == set()


def test_a_capability_must_be_declared_and_granted() -> None:
    assert held(granted=[SCHEDULER], declared=[SCHEDULER]) == {SCHEDULER}
    assert held(granted=[SCHEDULER], declared=[HTTP]) == set()
    assert held(providers=[SCHEDULER], declared=[SCHEDULER, HTTP]) == {SCHEDULER}
    assert held(granted=[HTTP], providers=[SCHEDULER], declared=[SCHEDULER, HTTP]) == {
        SCHEDULER,
        HTTP,
    }


@pytest.mark.parametrize("nothing", [None, [], {}, "words", [17, None, " "]])
def test_grants_count_if_no_capability_is_declared(nothing: object) -> None:
    assert held(granted=[SCHEDULER], declared=nothing) == {SCHEDULER}


def test_declaring_unknown_names_only_is_a_declaration() -> None:
    assert held(granted=[SCHEDULER], declared=["cap:time.travel"]) == set()


def test_a_declaration_is_a_grant_where_the_setting_says_so() -> None:
    assert held(declared=[SCHEDULER], declared_is_granted=True) == {SCHEDULER}
    assert held(granted=[HTTP], declared=[SCHEDULER], declared_is_granted=True) == {SCHEDULER}
    assert held(granted=[HTTP], declared_is_granted=True) == {HTTP}


def test_names_are_compared_trimmed_and_lower_cased_and_unknown_ones_dropped() -> None:
    sloppy = [" CAP:Scheduler.Manage\n", "cap:time.travel", 5, None, ["x"]]
    assert held(granted=sloppy, declared=[SCHEDULER.upper()]) == {SCHEDULER}
    assert held(granted=sloppy) == {SCHEDULER}


@pytest.mark.parametrize(
    "column", ["", "null", "{broken", "17", "{}", '"words"', '"[1"', "[" * 5_000, "\ud800"]
)
def test_malformed_columns_grant_no_capability(column: str) -> None:
    assert effective(column, column, column) == DEFAULTS
    assert effective(column, column, column, declared_is_granted=True) == DEFAULTS


def test_a_declaration_is_no_grant_unless_it_is_said_so() -> None:
    assert effective(None, None, json.dumps([SCHEDULER])) == DEFAULTS


def test_a_list_inside_a_json_string_is_read() -> None:
    assert held(granted=json.dumps([SCHEDULER]), declared=json.dumps([SCHEDULER])) == {SCHEDULER}
