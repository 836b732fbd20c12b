"""Ids that are made by hand, because the standard library takes too long: they are the same."""

from datetime import UTC, datetime, timedelta, timezone
from uuid import RFC_4122, UUID, uuid4, uuid5

from service.rules.call_ids import request_id, trace_id
from service.storage.runs.occurrences import NAMESPACE, occurrence_id, slot_text

SLOT = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def test_an_occurrence_has_the_standard_id_of_its_name() -> None:
    for number in range(100):
        schedule_id, slot = uuid4(), SLOT + timedelta(minutes=number)
        made = occurrence_id(schedule_id, slot, "manual")
        standard = uuid5(NAMESPACE, f"{schedule_id}:{slot_text(slot)}:manual")
        assert (made, str(made), hash(made)) == (standard, str(standard), hash(standard))


def test_a_slot_is_written_in_utc_to_the_second() -> None:
    assert slot_text(SLOT) == "2026-03-02T12:00:00Z"
    assert slot_text(SLOT.astimezone(timezone(timedelta(hours=9)))) == "2026-03-02T12:00:00Z"


def test_the_call_of_each_claim_has_a_request_id_of_its_own() -> None:
    runs = [uuid4() for _ in range(20)]
    texts = [request_id(run_id, fence) for run_id in runs for fence in range(50)]
    assert len(set(texts)) == len(texts)
    assert texts[0] == request_id(runs[0], 0)
    for text in texts:
        made = UUID(text)
        assert (made.version, made.variant, str(made)) == (8, RFC_4122, text)


def test_all_attempts_of_a_run_are_in_one_trace() -> None:
    runs = [uuid4() for _ in range(100)]
    assert len({trace_id(run_id) for run_id in runs}) == len(runs)
    assert trace_id(runs[0]) == trace_id(UUID(str(runs[0])))
    assert 0 < trace_id(runs[0]) < 1 << 128


def test_ids_are_the_same_in_every_release_for_later_readers_compute_them_again() -> None:
    assert request_id(UUID(int=7), 3) == "370ba330-a215-8607-9169-dced83687698"
    assert request_id(UUID(int=5), 1 << 40) == "5ef6cf15-d331-8294-b194-6b888656530b"
    assert request_id(UUID(int=6), 3) == "bb7dec0c-e937-8b1b-aba5-a3dd3f4829d9"
    assert trace_id(UUID(int=6)) == 0xE831A48C3D928231FF4F2F8BD0DE3F6B
