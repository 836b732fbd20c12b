"""Ids that are made by hand, because the standard library takes too long: they are the same."""

from datetime import UTC, datetime, timedelta
from uuid import RFC_4122, UUID, uuid4, uuid5

from service.storage.runs.occurrences import NAMESPACE, occurrence_id, slot_text
from service.worker.firing.decision import random_id

SLOT = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def test_an_occurrence_has_the_standard_id_of_its_name() -> None:
    for number in range(100):
        schedule_id, slot = uuid4(), SLOT + timedelta(minutes=number)
        made = occurrence_id(schedule_id, slot, "manual")
        standard = uuid5(NAMESPACE, f"{schedule_id}:{slot_text(slot)}:manual")
        assert (made, str(made), hash(made)) == (standard, str(standard), hash(standard))


def test_a_request_has_a_random_id_of_its_own() -> None:
    texts = [random_id() for _ in range(1000)]
    assert len(set(texts)) == len(texts)
    for text in texts:
        made = UUID(text)
        assert (made.version, made.variant, str(made)) == (4, RFC_4122, text)
