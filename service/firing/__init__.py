"""Firing: an occurrence's job becomes at most one call to the Runner at a time."""

from service.firing.attempt import Call, Firing, Invoke
from service.firing.settings import FiringSettings

__all__ = ["Call", "Firing", "FiringSettings", "Invoke"]
