"""Webhooks: which events go to them, how a delivery is signed, and when it is tried again."""

import hashlib
import hmac
from datetime import timedelta

import pytest

from service.rules.webhooks import GIVE_UP_AFTER, NOTABLE, Webhook, retry_delay, signed_headers

SECRET = b"a secret of the receiver's"


def test_what_a_person_wants_to_be_told_goes_to_webhooks() -> None:
    assert {
        "schedule.failing",
        "schedule.recovered",
        "schedule.disabled",
        "schedule.missed",
    } == NOTABLE


def test_a_webhook_does_not_show_its_secret() -> None:
    shown = repr(Webhook("https://a.example/hook", SECRET, "t1"))
    assert shown == "Webhook('https://a.example/hook', tenant='t1')"


def test_a_delivery_is_signed_over_its_time_and_body() -> None:
    headers = signed_headers(SECRET, "e-5", 1_700_000_000, b'{"a":1}')
    signature = hmac.new(SECRET, b'1700000000.{"a":1}', hashlib.sha256).hexdigest()
    assert headers == {
        "Content-Type": "application/json",
        "Ext-Webhook-Id": "e-5",
        "Ext-Webhook-Timestamp": "1700000000",
        "Ext-Webhook-Signature": f"v1={signature}",
    }


@pytest.mark.parametrize(
    ("attempts", "seconds"),
    [
        (1, 10),
        (2, 30),
        (3, 90),
        (4, 270),
        (5, 810),
        (6, 2430),
        (7, 3600),
        (10_000, 3600),
    ],
)
def test_waits_grow_to_an_hour(attempts: int, seconds: int) -> None:
    assert retry_delay(attempts, 0.5) == timedelta(seconds=seconds)


@pytest.mark.parametrize(("chance", "seconds"), [(0.0, 8), (0.25, 9), (0.5, 10), (0.75, 11)])
def test_chance_spreads_waits_by_a_fifth(chance: float, seconds: int) -> None:
    assert retry_delay(1, chance) == timedelta(seconds=seconds)


def test_a_delivery_is_tried_for_a_day() -> None:
    assert timedelta(hours=24) == GIVE_UP_AFTER
