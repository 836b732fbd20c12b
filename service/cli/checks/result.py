"""What was found, and what to do about it."""

from typing import Literal

from msgspec import Struct

State = Literal["ok", "note", "wrong"]


class Finding(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One thing that was looked at. A ``note`` may be meant so; what is ``wrong`` cannot work."""

    about: str
    state: State
    message: str
    remedy: str = ""


def ok(about: str, message: str) -> Finding:
    """It is right."""
    return Finding(about=about, state="ok", message=message)


def note(about: str, message: str, remedy: str = "") -> Finding:
    """It may be right."""
    return Finding(about=about, state="note", message=message, remedy=remedy)


def wrong(about: str, message: str, remedy: str) -> Finding:
    """It cannot work so."""
    return Finding(about=about, state="wrong", message=message, remedy=remedy)
