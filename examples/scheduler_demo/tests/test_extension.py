"""Tests of the demo outside WebAssembly: `python -m unittest discover tests`.

They need the test kit: `pip install 'ext-scheduler[testing]'`.
"""

import unittest
from datetime import timedelta
from pathlib import Path

from devstack.testing import FakeHost, Limits

EXTENSION = Path(__file__).parents[1]


class SetupTest(unittest.TestCase):
    def test_a_second_setup_creates_nothing(self) -> None:
        host = FakeHost(EXTENSION)
        self.assertEqual(
            sorted(host.call("POST", "/api/setup").json()["created"]), ["heartbeat", "status"]
        )
        again = host.call("POST", "/api/setup").json()
        self.assertEqual(again, {"created": [], "present": ["heartbeat", "status"], "failed": {}})

    def test_a_cron_that_the_rules_refuse_is_reported(self) -> None:
        host = FakeHost(EXTENSION)
        answer = host.call("POST", "/api/setup", {"heartbeat": "* * * * *"})
        self.assertEqual(answer.status, 422)
        message = "Cron too frequent (minimum interval is 5 minutes)"
        self.assertEqual(answer.json()["failed"], {"heartbeat": {"cron": message}})

    def test_a_used_up_quota_is_reported(self) -> None:
        host = FakeHost(EXTENSION, limits=Limits(max_schedules=1))
        failed = host.call("POST", "/api/setup").json()["failed"]
        self.assertEqual(failed, {"heartbeat": "Too many schedules (max 1 per extension install)"})

    def test_without_the_capability_nothing_is_scheduled(self) -> None:
        host = FakeHost(EXTENSION, granted=[])
        answer = host.call("POST", "/api/setup")
        self.assertEqual((answer.status, answer.json()), (502, {"error": "denied"}))


class HeartbeatTest(unittest.TestCase):
    def setUp(self) -> None:
        self.host = FakeHost(EXTENSION)
        self.host.call("POST", "/api/setup")

    def test_every_slot_is_counted(self) -> None:
        runs = self.host.advance(timedelta(minutes=15))
        self.assertEqual([run.fire.name for run in runs], ["heartbeat"] * 3)
        self.assertEqual(self.heartbeat()["calls"], 3)
        self.assertEqual(self.heartbeat()["scheduled_for"], "2026-01-01T00:15:00Z")

    def test_a_repeated_attempt_counts_once(self) -> None:
        run = self.host.fire("heartbeat")
        self.assertTrue(self.host.repeat(run).response.json()["repeated"])
        self.assertEqual(self.heartbeat()["calls"], 1)

    def test_the_status_is_called_every_hour(self) -> None:
        fires = self.host.fires_between(self.host.now, self.host.now + timedelta(days=1))
        self.assertEqual(sum(fire.name == "status" for fire in fires), 24)

    def heartbeat(self) -> dict:
        return self.host.call("GET", "/api/status").json()["heartbeat"]
