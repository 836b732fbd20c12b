"""Metrics of several processes added up: counters only rise, whatever happens to a process."""

from prometheus_client.parser import text_string_to_metric_families

from service.runtime.merged_metrics import MergedMetrics
from service.runtime.metrics import Metrics


async def exposed(metrics: Metrics) -> str:
    return (await metrics.exposition()).decode()


def values(merged: MergedMetrics) -> dict[str, float]:
    """Return every sample without labels, and those with them as ``name{label=value}``."""
    found = {}
    for family in text_string_to_metric_families(merged.exposition().decode()):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sample.labels.items())
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


async def test_counters_histograms_and_most_gauges_add_up_and_states_do_not() -> None:
    merged, one, other = MergedMetrics(), Metrics(), Metrics()
    for metrics, late, count in ((one, 0.2, 3), (other, 4.0, 4)):
        metrics.fire_lateness.observe(late)
        metrics.due_timers.set(10 * count)
        metrics.pool_connections.labels("worker", "open").set(count)
        for _ in range(count):
            metrics.record_request("list", "ok", None, 0.01)
    one.nats_connected.set(1)
    merged.update("1", await exposed(one))
    merged.update("2", await exposed(other))
    found = values(merged)
    calls = "extension_scheduler_api_calls_total{operation=list,status=ok}"
    assert found[calls] == 7
    assert found["extension_scheduler_fire_lateness_seconds_count"] == 2
    assert found["extension_scheduler_fire_lateness_seconds_sum"] == 4.2
    assert found["extension_scheduler_fire_lateness_seconds_bucket{le=0.25}"] == 1
    assert found["extension_scheduler_fire_lateness_seconds_bucket{le=+Inf}"] == 2
    assert found["extension_scheduler_due_timers"] == 40, "of the whole database"
    assert found["extension_scheduler_pool_connections{pool=worker,state=open}"] == 7
    assert found["extension_scheduler_nats_connected"] == 0, "one of them is not"
    assert found["extension_scheduler_processes"] == 2


async def test_what_an_ended_process_counted_stays_counted() -> None:
    merged, one, other = MergedMetrics(), Metrics(), Metrics()
    for metrics in (one, other):
        metrics.record_run_finished("schedule", "success")
        metrics.fire_lateness.observe(0.2)
    merged.update("1", await exposed(one))
    merged.update("2", await exposed(other))
    merged.ended("1")
    runs = "extension_scheduler_runs_total{status=success,trigger=schedule}"
    assert values(merged)[runs] == 2
    assert values(merged)["extension_scheduler_processes"] == 1
    again = Metrics()
    again.record_run_finished("schedule", "success")
    merged.update("1", await exposed(again))
    assert values(merged)[runs] == 3
    merged.ended("1")
    merged.ended("1")
    merged.ended("2")
    found = values(merged)
    assert found[runs] == 3, "each is counted once"
    assert found["extension_scheduler_fire_lateness_seconds_bucket{le=0.25}"] == 2
    assert "extension_scheduler_processes" not in found


async def test_an_update_replaces_what_the_same_process_exposed_before() -> None:
    merged, one = MergedMetrics(), Metrics()
    for total in (1, 2):
        one.record_run_finished("schedule", "success")
        merged.update("1", await exposed(one))
        runs = "extension_scheduler_runs_total{status=success,trigger=schedule}"
        assert values(merged)[runs] == total


async def test_what_is_merged_keeps_its_names_types_and_texts() -> None:
    merged, one = MergedMetrics(), Metrics()
    one.expect_runs()
    text = await exposed(one)
    merged.update("1", text)
    before = text.splitlines()
    assert sorted(merged.exposition().decode().splitlines()) == sorted(before)
