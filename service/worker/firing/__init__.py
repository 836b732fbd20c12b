"""Firing: an occurrence's job becomes at most one call to the Runner at a time."""

from service.worker.firing.attempt import ClaimedAttempt
from service.worker.firing.attempt_store import ClaimTooLateError
from service.worker.firing.run_executor import RunExecutor
from service.worker.firing.settings import FiringSettings

__all__ = ["ClaimTooLateError", "ClaimedAttempt", "FiringSettings", "RunExecutor"]
