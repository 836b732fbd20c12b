"""The settings of each component, from the flat settings."""

from datetime import timedelta
from os import getpid
from socket import gethostname

from service.operations.context import Policy
from service.requests.settings import ResponderSettings
from service.rules.limits import Limits
from service.rules.outcomes import FailureRules, RetryRules
from service.rules.planning import PlanningRules
from service.runtime.settings import Settings
from service.storage.records.expiry import Retention
from service.worker.firing import FiringSettings
from service.worker.maintenance import MaintenanceSettings
from service.worker.planner import PlannerSettings
from service.worker.worker import WorkerSettings


def policy(settings: Settings, *, sharded: bool = False) -> Policy:
    """Return what is the same for every request, on one database node or ``sharded``."""
    return Policy(
        limits=limits(settings),
        spread=timedelta(seconds=settings.spread_s),
        declared_is_granted=settings.declared_is_granted,
        sharded=sharded,
    )


def responder_settings(settings: Settings) -> ResponderSettings:
    """Return the bounds of the responder."""
    return ResponderSettings(
        concurrency=settings.concurrency,
        waiting=settings.waiting,
        reply_prefixes=settings.reply_prefixes,
        drain_timeout_s=settings.drain_timeout_s,
    )


def limits(settings: Settings) -> Limits:
    """Return the limits that the rules work with."""
    return Limits(
        min_interval_minutes=settings.min_interval_minutes,
        max_schedules=settings.max_schedules,
        changes_per_minute=settings.changes_per_minute,
        manual_runs_per_minute=settings.manual_runs_per_minute,
        max_cron_length=settings.max_cron_length,
        max_timezone_length=settings.max_timezone_length,
        max_name_length=settings.max_name_length,
        max_endpoint_length=settings.max_endpoint_length,
        max_payload_length=settings.max_payload_length,
        max_payload_depth=settings.max_payload_depth,
    )


def worker_settings(settings: Settings, *, sharded: bool = False) -> WorkerSettings:
    """Return the settings that a worker's parts work with, on one database node or ``sharded``."""
    spread = timedelta(seconds=settings.spread_s)
    return WorkerSettings(
        planner=PlannerSettings(
            rules=PlanningRules(
                catchup_window=timedelta(seconds=settings.catchup_window_s),
                catchup_spread=timedelta(seconds=settings.catchup_spread_s),
                spread=spread,
            )
        ),
        firing=FiringSettings(
            worker=f"{gethostname()}-{getpid()}",
            runner_timeout_s=settings.runner_timeout_s,
            in_flight=settings.in_flight,
            spread=spread,
            declared_is_granted=settings.declared_is_granted,
            sharded=sharded,
            retries=RetryRules(
                delays=tuple(timedelta(seconds=delay) for delay in settings.retry_delays_s)
            ),
            failures=FailureRules(
                failing_after=settings.failing_after, disable_after=settings.disable_after
            ),
        ),
        maintenance=MaintenanceSettings(
            spread=spread,
            retention=Retention(
                runs=timedelta(days=settings.run_retention_days),
                audit=timedelta(days=settings.audit_retention_days),
                idempotency=timedelta(hours=settings.idempotency_retention_h),
                queue_log=timedelta(hours=settings.queue_log_retention_h),
                rate_windows=timedelta(seconds=settings.rate_window_retention_s),
            ),
            sharded=sharded,
        ),
        heartbeat_s=settings.heartbeat_s,
        drain_s=settings.drain_timeout_s,
    )
