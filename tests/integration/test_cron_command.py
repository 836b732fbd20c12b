"""``ext-scheduler cron``, run as a person runs it; no server is there."""

from pathlib import Path

import pytest

from service.rules.cron import FIVE_FIELDS
from tests.support.command_line import CommandLine


@pytest.fixture
def offline(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path, {})


async def test_a_person_reads_words_and_both_clocks(offline: CommandLine) -> None:
    answer = await offline(
        *("cron", "30 2 * * *", "--timezone", "Europe/Berlin"),
        *("--from", "2027-03-27T02:00:00Z", "--count", "2"),
    )
    assert answer.status == 0, answer.err
    words, _, _, skipped, usual = answer.out.splitlines()
    assert words == "At 02:30, Europe/Berlin time"
    assert skipped.startswith("2027-03-28 01:00:00  Sun 2027-03-28 03:00 +0200  clock goes forward")
    assert usual.startswith("2027-03-29 00:30:00  Mon 2027-03-29 02:30 +0200")


async def test_a_program_reads_json(offline: CommandLine) -> None:
    answer = await offline(
        *("cron", " 5 4 * * * ", "--from", "2027-01-01T00:00:00Z", "--count", "1", "--json")
    )
    slot = {"utc": "2027-01-01T04:05:00.000Z", "local": "2027-01-01T04:05:00+00:00", "remark": None}
    assert answer.json == {
        "cron": "5 4 * * *",
        "timezone": "UTC",
        "words": "At 04:05, UTC",
        "slots": [slot],
    }


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (
            ("@daily",),
            3,
            f"{FIVE_FIELDS}; accepted would be: 0 0 * * *",
        ),
        (
            ("0 0 * * *", "--timezone", "europe/berlin"),
            3,
            "Invalid timezone; accepted would be: Europe/Berlin",
        ),
        (("0 0 31 2 *",), 3, "Invalid cron expression (never fires)"),
        (
            ("0 0 * * *", "--from", "tomorrow"),
            2,
            "--from tomorrow: not an RFC 3339 instant",
        ),
        (
            ("0 0 * * *", "--from", "9999-12-31T00:00:00Z"),
            2,
            "--from 9999-12-31T00:00:00Z: too far in the future",
        ),
    ],
)
async def test_a_refusal_is_one_line_with_the_way_out(
    offline: CommandLine, words: tuple[str, ...], status: int, message: str
) -> None:
    answer = await offline("cron", *words)
    assert (answer.status, answer.out, answer.err) == (status, "", f"ext-scheduler: {message}\n")
