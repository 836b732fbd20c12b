"""Every metric of the service, in one place. Labels come from closed sets: never an id."""

from collections.abc import Iterable
from importlib.metadata import version
from itertools import product
from platform import python_version

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from contracts.context import Reason
from contracts.errors import Code

API_STATUSES = ("ok", "refused", "failed")
TRIGGERS = ("schedule", "catchup", "run_now")
FINAL_STATUSES = ("success", "error", "skipped", "skipped_overlap")
DELIVERY_OUTCOMES = ("delivered", "failed", "dropped")
WATCHED_CODES = (Code.INTERNAL.value, Code.UNAVAILABLE.value)
"""Codes that alerts watch, so that the first of them must appear as a rise."""
API_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
RUN_BUCKETS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
LATENESS_BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)

RESTARTS = "extension_scheduler_process_restarts_total"
MAX_OVER_PROCESSES = frozenset(
    {
        "ext_scheduler_build_info",
        "extension_scheduler_due_timers",
        "extension_scheduler_queue_depth",
        "extension_scheduler_unaccounted_slots",
        "extension_scheduler_oldest_xmin_transactions",
    }
)
"""What is the same in every process of a group, or counted by whichever came last."""
MIN_OVER_PROCESSES = frozenset(
    {"extension_scheduler_nats_connected", "process_start_time_seconds", "process_max_fds"}
)
"""What must hold for each process of a group. All else is added up."""


class Metrics:
    """The registry of one process and what it counts; durations are in seconds."""

    def __init__(self) -> None:
        # Each would have a second series, which no dashboard uses.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library's
        self.registry = CollectorRegistry()
        self._declare_requests(self.registry)
        self._declare_runs(self.registry)
        self._declare_database(self.registry)
        self._declare_process(self.registry)

    async def exposition(self) -> bytes:
        """Return all of it in Prometheus' text format."""
        return generate_latest(self.registry)

    def record_request(self, op: str, status: str, code: str | None, duration_s: float) -> None:
        """Count a request that was answered; ``op`` and ``status`` are of closed sets."""
        series = self._series.get((op, status))
        if series is None:
            # Finding them by their labels costs more than counting.
            series = self.api_calls.labels(op, status), self.api_duration.labels(op)
            self._series[op, status] = series
        calls, duration = series
        calls.inc()
        duration.observe(duration_s)
        if code is not None:
            self.api_errors.labels(op, code).inc()

    def record_run_finished(self, trigger: str, status: str) -> None:
        """Count an occurrence that ended; both are of closed sets."""
        series = self._finished_runs.get((trigger, status))
        if series is None:
            self._finished_runs[trigger, status] = series = self.runs.labels(trigger, status)
        series.inc()

    def expect_requests(self, operations: Iterable[str], drops: Iterable[str]) -> None:
        """Expose a responder's counters as zero from the start, so that the first rise is seen."""
        names = list(operations)
        _zero(self.api_calls, names, API_STATUSES)
        _zero(self.api_errors, names, WATCHED_CODES)
        _zero(self.auth_failures, [reason.value for reason in Reason])
        _zero(self.messages_dropped, drops)

    def expect_runs(self) -> None:
        """Expose a worker's counters as zero from the start."""
        _zero(self.runs, TRIGGERS, FINAL_STATUSES)
        _zero(self.webhook_deliveries, DELIVERY_OUTCOMES)

    def _declare_requests(self, registry: CollectorRegistry) -> None:
        """Declare what responders count."""
        self.api_calls = Counter(
            "extension_scheduler_api_calls_total",
            "Requests answered: ok, refused (a negative result) or failed (a service error).",
            ("operation", "status"),
            registry=registry,
        )
        self.api_duration = Histogram(
            "extension_scheduler_api_duration_seconds",
            "Time from accepting a request to its reply.",
            ("operation",),
            buckets=API_BUCKETS,
            registry=registry,
        )
        self._series: dict[tuple[str, str], tuple[Counter, Histogram]] = {}
        self.api_errors = Counter(
            "extension_scheduler_api_errors_total",
            "Negative results and service errors, by code.",
            ("operation", "code"),
            registry=registry,
        )
        self.auth_failures = Counter(
            "extension_scheduler_auth_failures_total",
            "Requests whose signed context was refused, by reason.",
            ("reason",),
            registry=registry,
        )
        self.messages_dropped = Counter(
            "extension_scheduler_messages_dropped_total",
            "Messages that were rejected unread, or whose reply was lost, by reason.",
            ("reason",),
            registry=registry,
        )

    def _declare_runs(self, registry: CollectorRegistry) -> None:
        """Declare what workers count of runs and events."""
        self.runs = Counter(
            "extension_scheduler_runs_total",
            "Runs that ended, by trigger and final status.",
            ("trigger", "status"),
            registry=registry,
        )
        self.run_duration = Histogram(
            "extension_scheduler_run_duration_seconds",
            "Time from calling the Runner to its response, for each attempt.",
            buckets=RUN_BUCKETS,
            registry=registry,
        )
        self.fire_lateness = Histogram(
            "extension_scheduler_fire_lateness_seconds",
            "Time from the start of a slot (with spread_s, its share later) to its first call.",
            buckets=LATENESS_BUCKETS,
            registry=registry,
        )
        self._finished_runs: dict[tuple[str, str], Counter] = {}
        self.retries = Counter(
            "extension_scheduler_retries_total",
            "Failed attempts that will be followed by another.",
            registry=registry,
        )
        self.missed_slots = Counter(
            "extension_scheduler_missed_slots_total",
            "Slots not fired because a later one was, or because they were too old.",
            registry=registry,
        )
        self.webhook_deliveries = Counter(
            "extension_scheduler_webhook_deliveries_total",
            "Attempts to deliver an event: delivered, failed (tried again) or dropped after a day.",
            ("outcome",),
            registry=registry,
        )

    def _declare_database(self, registry: CollectorRegistry) -> None:
        """Declare what workers read from the database, the same for all of them."""
        self.due_timers = Gauge(
            "extension_scheduler_due_timers",
            "Due timers of the whole database: take the maximum over workers.",
            registry=registry,
        )
        self.queue_depth = Gauge(
            "extension_scheduler_queue_depth",
            "Jobs in the queue, retries included: take the maximum over workers.",
            registry=registry,
        )
        self.unaccounted_slots = Gauge(
            "extension_scheduler_unaccounted_slots",
            "Slots of the latest hour accounted for that nothing on record explains: must be 0.",
            registry=registry,
        )
        self.oldest_xmin = Gauge(
            "extension_scheduler_oldest_xmin_transactions",
            "Age of the oldest snapshot that vacuum must respect: take the maximum over workers.",
            registry=registry,
        )

    def _declare_process(self, registry: CollectorRegistry) -> None:
        """Declare what every process exposes of itself and its connections."""
        ProcessCollector(registry=registry)
        Gauge(
            "ext_scheduler_build_info",
            "1, with the release of the program and of Python.",
            ("version", "python"),
            registry=registry,
        ).labels(version("ext-scheduler"), python_version()).set(1)
        self.inflight = Gauge(
            "extension_scheduler_inflight",
            "In flight: request, waiting (responder), invocation (worker), execution (bridge).",
            ("kind",),
            registry=registry,
        )
        self.pool_connections = Gauge(
            "extension_scheduler_pool_connections",
            "Database connections by pool: open, idle among them, and the limit.",
            ("pool", "state"),
            registry=registry,
        )
        self.processes = Gauge(
            "extension_scheduler_processes",
            "Processes that serve behind this port: 1, or with `--processes` those that run.",
            registry=registry,
        )
        self.processes.set(1)
        self.process_restarts = Counter(
            "extension_scheduler_process_restarts_total",
            "Processes of `--processes` that ended and were started again.",
            registry=registry,
        )
        self.nats_connected = Gauge(
            "extension_scheduler_nats_connected",
            "1 while connected to NATS, else 0.",
            registry=registry,
        )
        self.nats_reconnects = Counter(
            "extension_scheduler_nats_reconnects_total",
            "Reconnects to NATS.",
            registry=registry,
        )


def _zero(metric: Counter, *values: Iterable[str]) -> None:
    for labels in product(*values):
        metric.labels(*labels)
