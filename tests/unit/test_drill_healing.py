"""Heal times: from the end of a fault to the first answer and the first call, per kind."""

from tests.drill.healing import Healing, healing, lines
from tests.drill.history import Call, Fault, History, Probe

ZERO = 1_800_000_000.0
"""A full minute."""


def call(slot: float, received: float) -> Call:
    return Call(
        key="",
        schedule_id="",
        slot=ZERO + slot,
        attempt=1,
        signed=None,
        received=ZERO + received,
        answered=ZERO + received,
        status=200,
    )


def history(faults: list[Fault], calls: list[Call], probes: list[Probe]) -> History:
    return History(
        began=ZERO,
        stopped=ZERO + 300,
        planned_within=15.0,
        changes=[],
        refusals=[],
        faults=faults,
        spans=[],
        exits=[],
        calls=calls,
        runs=[],
        stored=[],
        probes=probes,
    )


def fault(kind: str, began: float, ended: float) -> Fault:
    return Fault(kind, ZERO + began, ZERO + ended)


def probe(asked: float, answered: float | None) -> Probe:
    return Probe(ZERO + asked, None if answered is None else ZERO + answered)


def test_what_was_due_meanwhile_counts_from_the_end_of_the_fault() -> None:
    found = healing(
        history(
            [fault("frozen", 55, 65)],
            [call(0, 1), call(60, 68)],
            [probe(50, 50.1), probe(64, 66), probe(66, None), probe(67, 69)],
        )
    )
    assert found == [Healing(kind="frozen", requests=[4.0], firings=[3.0])]


def test_what_was_due_later_counts_from_its_slot() -> None:
    found = healing(history([fault("killed", 70, 71)], [call(60, 72), call(120, 121)], []))
    assert found == [Healing(kind="killed", firings=[1.0])]


def test_what_was_called_during_the_fault_needed_no_healing() -> None:
    found = healing(history([fault("frozen", 55, 75)], [call(60, 61)], []))
    assert found == [Healing(kind="frozen", firings=[0.0])]


def test_another_fault_in_between_spoils_the_measurement() -> None:
    faults = [fault("frozen", 10, 20), fault("killed", 22, 22)]
    found = healing(history(faults, [], [probe(21, 25)]))
    assert found[0] == Healing(kind="frozen", disturbed=1)
    found = healing(history(faults, [], [probe(20.5, 21)]))
    assert found[0] == Healing(kind="frozen", requests=[1.0])


def test_the_table_counts_what_took_too_long() -> None:
    slow = Healing(kind="frozen", requests=[1.0, 2.0, 10.5], firings=[])
    assert slow.late == 1
    assert "1" in lines([slow])[-1].split()
    assert "2.0 / 10.5 (3)" in lines([slow])[-1]
