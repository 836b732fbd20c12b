"""Keys that sign and check install contexts, read from a JWK Set (RFC 7517).

A key pins together its id, algorithm, issuer and audiences; a token decides none of them. Key
material lives in closures only, so no repr, log line or error can show it.
"""

import hmac
import secrets
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from msgspec import Struct
from msgspec import json as msgspec_json

from contracts import base64url, ed25519
from contracts.strict_json import read_object, strip_bom
from contracts.subjects import AUDIENCES

HS256 = "HS256"
ED25519_NAMES = frozenset({"EdDSA", "Ed25519"})
"""One algorithm under two names: EdDSA limited to Ed25519, and the name RFC 9864 gives it."""
MIN_SECRET_BYTES = 32

SignMessage = Callable[[bytes], bytes]
VerifySignature = Callable[[bytes, bytes], bool]


class InvalidKeySet(ValueError):
    """A key set that must not be used; the message names the key and the fault, never material."""


class Key(Struct, frozen=True, kw_only=True):
    """One key. ``check(message, signature)``; ``sign`` is None where only the public part is known.

    ``issuer`` is the only ``iss`` it may sign for, ``audiences`` the only ``aud``; an ``operator``
    key may act for all tenants. ``public`` is the raw key where ``check`` is nothing but
    ``ed25519.is_signed`` with it, which may then be done elsewhere; else None.
    """

    kid: str
    alg: str
    issuer: str
    audiences: frozenset[str]
    operator: bool
    check: VerifySignature
    sign: SignMessage | None
    public: bytes | None

    def __repr__(self) -> str:
        return f"Key(kid={self.kid!r}, alg={self.alg!r}, issuer={self.issuer!r})"

    def names(self, alg: str) -> bool:
        """Return whether a token's ``alg`` names this key's own algorithm."""
        return alg == self.alg or {alg, self.alg} == ED25519_NAMES


class KeySet(Struct, frozen=True):
    """Keys by ``kid``, in the order of the file."""

    keys: Mapping[str, Key]


def parse_key_set(document: bytes) -> KeySet:
    """Read a JWK Set: ``{"keys": [{kid, kty, alg, ext_iss, ext_aud, ext_operator?, …}]}``.

    Raises:
        InvalidKeySet: not a JWK Set, or any key in it that must not be used.
    """
    try:
        members = read_object(strip_bom(document)).get("keys")
    except ValueError:
        raise InvalidKeySet("key set is not a JSON object with unique members") from None
    if not isinstance(members, list) or not all(isinstance(jwk, dict) for jwk in members):
        raise InvalidKeySet("key set has no list 'keys' of objects")
    keys: dict[str, Key] = {}
    for position, jwk in enumerate(members):
        key = _parse_key(jwk, position)
        if key.kid in keys:
            raise InvalidKeySet(f"key {key.kid!r}: kid appears twice")
        keys[key.kid] = key
    _refuse_public_key_as_secret(members)
    return KeySet(MappingProxyType(keys))


def signing_key(keys: KeySet, audience: str, kid: str | None = None) -> Key:
    """Choose the key to sign with: the named one, else the first that can sign for the audience.

    The first, so that a key appended for rotation is not used before the old one is removed.

    Raises:
        InvalidKeySet: no such key.
    """
    for key in keys.keys.values():
        if key.sign and audience in key.audiences and kid in {None, key.kid}:
            return key
    raise InvalidKeySet(f"no key can sign for {audience}" + (f" under kid {kid!r}" if kid else ""))


def generate_key(
    alg: str, *, kid: str, issuer: str, audiences: Sequence[str], operator: bool = False
) -> dict[str, Any]:
    """Return a new private JWK for ``EdDSA``, ``Ed25519`` or ``HS256``.

    Raises:
        InvalidKeySet: an unknown algorithm or audience, or an empty name.
    """
    if alg == HS256:
        material = {"kty": "oct", "k": _encode_text(secrets.token_bytes(MIN_SECRET_BYTES))}
    else:
        seed = secrets.token_bytes(ed25519.SEED_BYTES)
        public, _ = ed25519.key_pair(seed)
        material = {"kty": "OKP", "crv": "Ed25519", "x": _encode_text(public)}
        material["d"] = _encode_text(seed)
    jwk: dict[str, Any] = {
        "kid": kid,
        "alg": alg,
        "ext_iss": issuer,
        "ext_aud": list(audiences),
        **material,
    }
    if operator:
        jwk["ext_operator"] = True
    _parse_key(jwk, 0)
    return jwk


def public_jwk(jwk: Mapping[str, Any]) -> dict[str, Any]:
    """Return an Ed25519 JWK without its private part.

    Raises:
        InvalidKeySet: an HS256 key, which has no public part.
    """
    if jwk.get("kty") != "OKP":
        raise InvalidKeySet(f"key {jwk.get('kid')!r} has no public part")
    public = {name: value for name, value in jwk.items() if name != "d"}
    return {**public, "key_ops": ["verify"]} if "key_ops" in jwk else public


def key_set_document(jwks: Sequence[Mapping[str, Any]]) -> bytes:
    """Return a JWK Set as JSON, validated as a reader would.

    Raises:
        InvalidKeySet: a reader would reject it.
    """
    document = msgspec_json.format(msgspec_json.encode({"keys": list(jwks)}), indent=2)
    parse_key_set(document)
    return document + b"\n"


def _parse_key(jwk: dict[str, Any], position: int) -> Key:
    kid = jwk.get("kid")
    if not isinstance(kid, str) or not kid:
        raise InvalidKeySet(f"key number {position + 1}: kid is missing")
    try:
        alg = _text_member(jwk, "alg")
        check, sign = _hmac_key(jwk) if alg == HS256 else _ed25519_key(jwk, alg)
        check, sign = _restrict_to_use(jwk, check, sign)
        return Key(
            kid=kid,
            alg=alg,
            issuer=_text_member(jwk, "ext_iss"),
            audiences=_audiences(jwk.get("ext_aud")),
            operator=_boolean_member(jwk, "ext_operator"),
            check=check,
            sign=sign,
            public=_checked_by(jwk),
        )
    except InvalidKeySet as fault:
        raise InvalidKeySet(f"key {kid!r}: {fault}") from None


def _hmac_key(jwk: dict[str, Any]) -> tuple[VerifySignature, SignMessage]:
    if jwk.get("kty") != "oct":
        raise InvalidKeySet("HS256 needs kty oct")
    secret = _material(jwk, "k")
    if len(secret) < MIN_SECRET_BYTES:
        raise InvalidKeySet(f"HS256 needs a secret of at least {MIN_SECRET_BYTES} bytes")
    _refuse_trivial(secret, "k")

    keyed = hmac.new(secret, digestmod="sha256")

    def sign(message: bytes) -> bytes:
        mac = keyed.copy()  # two thirds of what it takes to begin with the secret each time
        mac.update(message)
        return mac.digest()

    def check(message: bytes, signature: bytes) -> bool:
        return hmac.compare_digest(sign(message), signature)

    return check, sign


def _ed25519_key(jwk: dict[str, Any], alg: str) -> tuple[VerifySignature, SignMessage | None]:
    if alg not in ED25519_NAMES:
        raise InvalidKeySet("alg must be EdDSA, Ed25519 or HS256")
    if jwk.get("kty") != "OKP" or jwk.get("crv") != "Ed25519":
        raise InvalidKeySet(f"{alg} needs kty OKP and crv Ed25519")
    public = _raw_ed25519(jwk, "x")
    if not ed25519.is_valid_public(public):
        raise InvalidKeySet("x is not a valid Ed25519 point")

    def check(message: bytes, signature: bytes) -> bool:
        return ed25519.is_signed(public, message, signature)

    if "d" not in jwk:
        return check, None
    seed = _raw_ed25519(jwk, "d")
    _refuse_trivial(seed, "d")
    derived, private = ed25519.key_pair(seed)
    if derived != public:
        raise InvalidKeySet("d and x do not belong together")

    def sign(message: bytes) -> bytes:
        return ed25519.sign(private, message)

    return check, sign


def _restrict_to_use(
    jwk: dict[str, Any], check: VerifySignature, sign: SignMessage | None
) -> tuple[VerifySignature, SignMessage | None]:
    """Leave a key what its ``use`` and ``key_ops`` allow (RFC 7517, sections 4.2 and 4.3)."""
    if jwk.get("use", "sig") != "sig":
        raise InvalidKeySet("use is not sig")
    if "key_ops" not in jwk:
        return check, sign
    operations = jwk["key_ops"]
    if not isinstance(operations, list) or not all(isinstance(name, str) for name in operations):
        raise InvalidKeySet("key_ops is not a list of texts")
    if "sign" not in operations:
        sign = None
    if "verify" in operations:
        return check, sign
    if sign is None:
        raise InvalidKeySet("key_ops allow neither verify nor sign with this key")
    return lambda _message, _signature: False, sign


def _checked_by(jwk: dict[str, Any]) -> bytes | None:
    """Return the raw key that signatures are checked by, None for a secret or no such use."""
    if jwk["alg"] == HS256 or "verify" not in jwk.get("key_ops", ["verify"]):
        return None
    return _raw_ed25519(jwk, "x")


def _refuse_trivial(secret: bytes, member: str) -> None:
    # Zeros are what a forgotten or failed generator leaves behind, and the first that is guessed.
    if len(set(secret)) == 1:
        raise InvalidKeySet(f"{member} is one byte repeated, not a random secret")


def _material(jwk: dict[str, Any], member: str) -> bytes:
    try:
        return base64url.decode(_text_member(jwk, member).encode())
    except ValueError:
        raise InvalidKeySet(f"{member} is missing or not base64url") from None


def _raw_ed25519(jwk: dict[str, Any], member: str) -> bytes:
    raw = _material(jwk, member)
    if len(raw) != 32:
        raise InvalidKeySet(f"{member} is not an Ed25519 key of 32 bytes")
    return raw


def _text_member(jwk: dict[str, Any], member: str) -> str:
    value = jwk.get(member)
    if not isinstance(value, str) or not value:
        raise InvalidKeySet(f"{member} is missing or not a text")
    return value


def _boolean_member(jwk: dict[str, Any], member: str) -> bool:
    value = jwk.get(member, False)
    if not isinstance(value, bool):
        raise InvalidKeySet(f"{member} is not a boolean")
    return value


def _audiences(value: object) -> frozenset[str]:
    if not isinstance(value, list) or not value or not AUDIENCES.issuperset(map(str, value)):
        raise InvalidKeySet(f"ext_aud must list one or more of {', '.join(sorted(AUDIENCES))}")
    return frozenset(value)


def _refuse_public_key_as_secret(members: list[dict[str, Any]]) -> None:
    # Anyone who has the public key could forge tokens: the known confusion of the two kinds.
    public = {jwk["x"] for jwk in members if isinstance(jwk.get("x"), str)}
    for jwk in members:
        if isinstance(jwk.get("k"), str) and jwk["k"] in public:
            raise InvalidKeySet(f"key {jwk['kid']!r}: the secret is another key's public part")


def _encode_text(raw: bytes) -> str:
    return base64url.encode(raw).decode()
