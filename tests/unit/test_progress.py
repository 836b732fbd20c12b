"""What the development stack prints while something takes long."""

import re

import pytest

from devstack.progress import phase
from tests.support.eventually import eventually


async def test_what_takes_long_says_so_and_for_how_long(capsys: pytest.CaptureFixture[str]) -> None:
    printed = ""

    def seen() -> bool:
        nonlocal printed
        printed += capsys.readouterr().out
        return printed.count("so far") >= 2

    with phase("compiling", quiet_s=0, interval_s=0.01):
        await eventually(seen)
    first, second, *_ = printed.splitlines()
    assert first == "       compiling …"
    assert re.fullmatch(r"       compiling: \d+ s so far", second)


def test_what_is_done_soon_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with phase("checking", quiet_s=60):
        pass
    assert capsys.readouterr().out == ""
