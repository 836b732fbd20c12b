"""What `dev fire` says where the service refuses another manual run."""

import re
from datetime import UTC, datetime

from devstack.administration import until
from devstack.dev_commands import same_minute


def test_a_second_run_within_a_minute_is_explained_with_the_next_minute() -> None:
    assert same_minute(datetime(2026, 1, 1, 14, 59, 59, 5, UTC)) == (
        "a schedule has one manual run a minute, and this is the one of this minute, started "
        "before; the next can be started from 15:00:00"
    )


def test_a_refusal_names_the_moment_from_which_on_it_would_be_accepted() -> None:
    assert re.fullmatch(r"; accepted again from \d\d:\d\d:\d\d", until(12_000))
    assert until(None) == ""
