"""Capabilities: the effective ones of an install."""

from functools import lru_cache

from contracts.capabilities import DEFAULTS, KNOWN
from service.rules.columns import read_list


@lru_cache(maxsize=4096)
def effective(
    granted: str | None,
    providers: str | None,
    declared: str | None,
    *,
    declared_is_granted: bool = False,
) -> frozenset[str]:
    """Return the capabilities of an install, from three columns of JSON text of any content.

    ``granted`` and ``providers`` (the install's and its config's) together are what is granted;
    where the version declares any, only what it declares counts, and the defaults always do.
    ``declared_is_granted`` takes a declaration for a grant.
    """
    claims = _names(declared)
    grants = _names(granted) | _names(providers)
    if declared_is_granted:
        grants |= claims
    # A version that declares nothing but names unknown here has declared; it just gets nothing.
    held = grants & claims if claims else grants
    return (held & KNOWN) | DEFAULTS


def _names(text: str | None) -> frozenset[str]:
    names = (name for name in read_list(text) or () if isinstance(name, str))
    return frozenset(cleaned for name in names if (cleaned := name.strip().lower()))
