"""One-time links to sign in with: a signed context of an operation that no service answers.

Whoever can sign admin requests can sign links, for the same tenants. The context is in the link's
query; the page asks to confirm, so that a program that follows links does not use it up.
"""

import time
from collections.abc import Callable
from urllib.parse import urlencode
from uuid import UUID, uuid4

from console.people import Person, normalised
from contracts.context import Claims, ContextRefused, Key, KeySet, body_sha256, sign, verify
from contracts.subjects import ADMIN_AUDIENCE

LINK_LIFETIME_S = 60
LINK_OPERATION = "consoleSignIn"
SIGN_IN_PATH = "/sign-in"


class LinkRefused(Exception):
    """The link is invalid, expired or used; the message is for the person."""


def sign_link(base_url: str, person: Person, key: Key, now: float) -> str:
    """Return a link that signs a person in once, within a minute of ``now`` (Unix seconds)."""
    claims = Claims(
        iss=key.issuer,
        aud=ADMIN_AUDIENCE,
        iat=int(now),
        exp=int(now) + LINK_LIFETIME_S,
        jti=uuid4(),
        op=LINK_OPERATION,
        body_sha256=body_sha256(b""),
        tenant_id=person.tenant,
        sub=person.name,
        permissions=person.permissions,
    )
    return f"{base_url.rstrip('/')}{SIGN_IN_PATH}?{urlencode({'link': sign(claims, key)})}"


class LinkReader:
    """Verifies links, and remembers which were used for as long as they are valid."""

    def __init__(self, keys: Callable[[], KeySet], clock: Callable[[], float] = time.time) -> None:
        self._keys = keys
        self._clock = clock
        self._used: dict[UUID, int] = {}

    def peek(self, token: str) -> Person:
        """Return the person that a link is for, and leave it valid. Raises LinkRefused."""
        return _person(self._verify(token))

    def redeem(self, token: str) -> Person:
        """Return the person that a link is for, and accept it no more. Raises LinkRefused."""
        claims = self._verify(token)
        self._used[claims.jti] = claims.exp
        return _person(claims)

    def _verify(self, token: str) -> Claims:
        now = self._clock()
        self._used = {jti: exp for jti, exp in self._used.items() if exp > now}
        try:
            claims = verify(
                token,
                self._keys(),
                audience=ADMIN_AUDIENCE,
                op=LINK_OPERATION,
                body=b"",
                now=now,
            )
        except ContextRefused:
            raise LinkRefused("This link is not valid, or no longer.") from None
        # Without the leeway that requests have: nobody would know how long a link is good for.
        if claims.exp <= now:
            raise LinkRefused("This link has expired: a link is good for one minute.")
        if claims.jti in self._used:
            raise LinkRefused("This link was used already: a link is good for one sign-in.")
        return claims


def _person(claims: Claims) -> Person:
    # An admin context without these was refused by ``verify``.
    return Person(
        name=claims.sub or "",
        tenant=claims.tenant_id or "",
        permissions=normalised(claims.permissions or ()),
    )
