"""How long a worker's loop waits for connections, and when it gives up."""

from datetime import timedelta

import asyncpg
import pytest

from service.worker.outage import MAX_DELAY, RESTORE_S, Outage

LOST = asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")


class Seconds:
    """A clock that the test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    "error",
    [LOST, asyncpg.InterfaceError("closed"), asyncpg.InternalClientError("state"), OSError("down")],
    ids=lambda error: type(error).__name__,
)
def test_a_lost_connection_is_retried_after_longer_and_longer_waits(error: Exception) -> None:
    outage = Outage(Seconds())
    delays = [outage.retry_delay(error) for _ in range(7)]
    assert delays[:3] == [timedelta(milliseconds=ms) for ms in (100, 200, 400)]
    assert delays[-1] == MAX_DELAY


@pytest.mark.parametrize(
    "error",
    [asyncpg.DeadlockDetectedError("deadlock"), asyncpg.DiskFullError("full"), TimeoutError()],
    ids=lambda error: type(error).__name__,
)
def test_an_error_on_a_working_connection_never_ends_the_loop(error: Exception) -> None:
    clock = Seconds()
    outage = Outage(clock)
    for _ in range(3):
        assert outage.retry_delay(error) is None
        clock.now += RESTORE_S


def test_the_loop_gives_up_when_no_connection_has_worked_for_long() -> None:
    clock = Seconds()
    outage = Outage(clock)
    outage.retry_delay(LOST)
    clock.now = RESTORE_S
    outage.retry_delay(LOST)
    clock.now += 1
    with pytest.raises(asyncpg.ConnectionDoesNotExistError):
        outage.retry_delay(LOST)


def test_a_connection_that_works_ends_the_outage() -> None:
    clock = Seconds()
    outage = Outage(clock)
    outage.retry_delay(LOST)
    clock.now = RESTORE_S
    outage.over()
    clock.now += RESTORE_S
    assert outage.retry_delay(LOST) == timedelta(milliseconds=100)
