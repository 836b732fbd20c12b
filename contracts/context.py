"""The signed install context: a compact JWS that identifies the caller of exactly one request.

Pure: keys and time are passed in. Both sides work on the exact bytes of the body.
"""

import hashlib
from collections.abc import Mapping
from enum import StrEnum
from functools import lru_cache
from types import MappingProxyType
from typing import Annotated, Any, NoReturn
from uuid import UUID

import msgspec
from msgspec import Meta, Struct

from contracts import base64url
from contracts.keys import (
    InvalidKeySet,
    Key,
    KeySet,
    generate_key,
    key_set_document,
    parse_key_set,
    public_jwk,
    signing_key,
)
from contracts.strict_json import read_object
from contracts.subjects import ADMIN_AUDIENCE, HOST_AUDIENCE

__all__ = [
    "ALL_TENANTS",
    "Claims",
    "ContextRefused",
    "InvalidKeySet",
    "Key",
    "KeySet",
    "Reason",
    "UncheckedToken",
    "accept",
    "body_sha256",
    "form_fault",
    "generate_key",
    "key_set_document",
    "parse_key_set",
    "public_jwk",
    "read_token",
    "sign",
    "signing_key",
    "verify",
]

TOKEN_TYPE = "ext-context+jwt"  # noqa: S105 - a media type, no secret
MAX_TOKEN_BYTES = 4096
MAX_LIFETIME_S = 120
DEFAULT_LIFETIME_S = 60
LEEWAY_S = 10
ALL_TENANTS = "*"
"""The ``tenant_id`` of a platform operator."""

NonEmptyText = Annotated[str, Meta(min_length=1)]


class Claims(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The claims of a token, under their wire names. ``iat`` and ``exp`` are Unix seconds.

    ``jti`` is the request's id and its idempotency key. ``tenant_id``, ``version_id`` and
    ``extension_id`` are texts, to be compared with the database: what does not match there is
    denied, not malformed. ``providers`` absent and ``providers`` empty differ. An admin token has
    ``sub``, ``permissions`` and ``tenant_id``; a host one has ``install_id``.
    """

    iss: NonEmptyText
    aud: NonEmptyText
    iat: int
    exp: int
    jti: UUID
    op: NonEmptyText
    body_sha256: str
    install_id: UUID | None = None
    tenant_id: NonEmptyText | None = None
    version_id: NonEmptyText | None = None
    extension_id: NonEmptyText | None = None
    providers: tuple[str, ...] | None = None
    sub: NonEmptyText | None = None
    permissions: tuple[str, ...] | None = None
    nbf: int | None = None


class Reason(StrEnum):
    """Why a token was refused: for logs and a metric label, never for the caller. Closed."""

    MISSING = "missing"
    OVERSIZE = "oversize"
    MALFORMED = "malformed"
    TYPE = "type"
    CRITICAL = "critical"
    UNKNOWN_KEY = "unknown_key"
    ALGORITHM = "algorithm"
    SIGNATURE = "signature"
    CLAIMS = "claims"
    AUDIENCE = "audience"
    ISSUER = "issuer"
    TENANT = "tenant"
    OPERATION = "operation"
    BODY = "body"
    LIFETIME = "lifetime"
    NOT_YET_VALID = "not_yet_valid"
    EXPIRED = "expired"


class ContextRefused(Exception):
    """The token was rejected; ``reason`` says why, without quoting the token."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason


def body_sha256(body: bytes) -> str:
    """Hash the exact bytes of a body, an empty one included, as base64url without padding."""
    return base64url.encode(hashlib.sha256(body).digest()).decode()


def sign(claims: Claims, key: Key) -> str:
    """Return the token for these claims; equal input gives equal bytes.

    Raises:
        InvalidKeySet: only the public part of the key is known.
    """
    if key.sign is None:
        raise InvalidKeySet(f"key {key.kid!r} cannot sign: it has no private part")
    message = _encode_header(key.alg, key.kid) + base64url.encode(msgspec.json.encode(claims))
    return (message + b"." + base64url.encode(key.sign(message))).decode()


@lru_cache(maxsize=64)
def _encode_header(alg: str, kid: str) -> bytes:
    header = msgspec.json.encode({"alg": alg, "kid": kid, "typ": TOKEN_TYPE})
    return base64url.encode(header) + b"."


def verify(
    token: str | None, keys: KeySet, *, audience: str, op: str, body: bytes, now: float
) -> Claims:
    """Verify a token for exactly this audience, operation and body at ``now`` (Unix seconds).

    Raises:
        ContextRefused: it is not valid for them.
    """
    read = read_token(token, keys)
    signed = read.is_signed()
    return accept(read, signed=signed, audience=audience, op=op, body=body, now=now)


class UncheckedToken(Struct, frozen=True):
    """A token that names one of our keys, before its signature is checked.

    ``message`` is what the signature is of, ``payload`` the claims within as JSON.
    """

    key: Key
    message: bytes
    payload: bytes
    signature: bytes

    def is_signed(self) -> bool:
        """Return whether the key really signed it."""
        return self.key.check(self.message, self.signature)


def read_token(token: str | None, keys: KeySet) -> UncheckedToken:
    """Take a token apart, trusting nothing in it.

    Raises:
        ContextRefused: it is no token, or names none of these keys with its algorithm.
    """
    segments = _split(token)
    try:
        header = _header(segments[0])
        payload = base64url.decode(segments[1])
        signature = base64url.decode(segments[2])
    except ValueError:
        _refuse(Reason.MALFORMED)
    key = _key(header, keys)
    return UncheckedToken(key, segments[0] + b"." + segments[1], payload, signature)


def accept(
    token: UncheckedToken, *, signed: bool, audience: str, op: str, body: bytes, now: float
) -> Claims:
    """Return the claims of a token, ``signed`` as its ``is_signed`` says, for exactly this use.

    Raises:
        ContextRefused: it is not valid for it.
    """
    if not signed:
        _refuse(Reason.SIGNATURE)
    claims = _claims(token.payload)
    _check_issuer_and_audience(claims, token.key, audience)
    if claims.op != op:
        _refuse(Reason.OPERATION)
    if claims.body_sha256 != body_sha256(body):
        _refuse(Reason.BODY)
    _check_time(claims, now)
    return claims


@lru_cache(maxsize=64)
def _header(segment: bytes) -> Mapping[str, Any]:
    """Read a header; all tokens that one signer makes with one key have the same."""
    return MappingProxyType(read_object(base64url.decode(segment)))


def form_fault(token: str | None) -> Reason | None:
    """Return why this cannot be a token, judged by its length and dots alone; None if it can."""
    if not token:
        return Reason.MISSING
    if len(token) > MAX_TOKEN_BYTES:
        return Reason.OVERSIZE
    return None if token.count(".") == 2 else Reason.MALFORMED


def _split(token: str | None) -> list[bytes]:
    fault = form_fault(token)
    if token is None or fault is not None:
        _refuse(fault or Reason.MISSING)
    return token.encode(errors="replace").split(b".")


def _key(header: Mapping[str, Any], keys: KeySet) -> Key:
    if "crit" in header:
        _refuse(Reason.CRITICAL)  # none is known here, so every one is unknown
    if header.get("typ") != TOKEN_TYPE:
        _refuse(Reason.TYPE)
    kid = header.get("kid")
    key = keys.keys.get(kid) if isinstance(kid, str) else None
    if key is None:
        _refuse(Reason.UNKNOWN_KEY)
    alg = header.get("alg")
    if not isinstance(alg, str) or not key.names(alg):
        _refuse(Reason.ALGORITHM)
    return key


def _claims(payload: bytes) -> Claims:
    try:
        members = read_object(payload)
    except ValueError:
        _refuse(Reason.MALFORMED)
    # A null would read as an absent claim, and absent `providers` means less than an empty list.
    if None in members.values():
        _refuse(Reason.CLAIMS)
    try:
        return msgspec.convert(members, Claims)
    except msgspec.ValidationError:
        _refuse(Reason.CLAIMS)


def _check_issuer_and_audience(claims: Claims, key: Key, audience: str) -> None:
    if claims.aud != audience or audience not in key.audiences:
        _refuse(Reason.AUDIENCE)
    if claims.iss != key.issuer:
        _refuse(Reason.ISSUER)
    if audience == HOST_AUDIENCE and claims.install_id is None:
        _refuse(Reason.CLAIMS)
    if audience == ADMIN_AUDIENCE and None in (claims.sub, claims.permissions, claims.tenant_id):
        _refuse(Reason.CLAIMS)
    if claims.tenant_id == ALL_TENANTS and not key.operator:
        _refuse(Reason.TENANT)


def _check_time(claims: Claims, now: float) -> None:
    if not 0 < claims.exp - claims.iat <= MAX_LIFETIME_S:
        _refuse(Reason.LIFETIME)
    if max(claims.iat, claims.nbf or 0) > now + LEEWAY_S:
        _refuse(Reason.NOT_YET_VALID)
    if claims.exp + LEEWAY_S <= now:
        _refuse(Reason.EXPIRED)


def _refuse(reason: Reason) -> NoReturn:
    raise ContextRefused(reason) from None
