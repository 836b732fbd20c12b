"""The result of one check, and how to fix what it found."""

from enum import StrEnum

from msgspec import Struct


class CheckLevel(StrEnum):
    """How serious a result is; the values are those of ``--json``."""

    OK = "ok"
    WARNING = "note"
    """May be intended."""
    ERROR = "wrong"
    """Cannot work."""


class CheckResult(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What one check found: ``about`` names what was checked, ``remedy`` says how to fix it."""

    about: str
    state: CheckLevel
    message: str
    remedy: str = ""


def ok(about: str, message: str) -> CheckResult:
    """Return a passed check."""
    return CheckResult(about=about, state=CheckLevel.OK, message=message)


def warning(about: str, message: str, remedy: str = "") -> CheckResult:
    """Return the result for something that may be intended."""
    return CheckResult(about=about, state=CheckLevel.WARNING, message=message, remedy=remedy)


def error(about: str, message: str, remedy: str) -> CheckResult:
    """Return the result for something that cannot work."""
    return CheckResult(about=about, state=CheckLevel.ERROR, message=message, remedy=remedy)
