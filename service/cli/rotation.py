"""The parts of a key rotation, as changes of two files: the signer's and the verifiers'.

In the signer's file the first fitting key signs, so the new key waits behind the old one until the
verifiers know it. Each part may be repeated, and taken up again where it was cut short.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
from msgspec import Struct

from contracts.context import (
    InvalidKeySet,
    generate_key,
    key_set_document,
    parse_key_set,
    public_jwk,
)
from service.cli import files
from service.cli.errors import EXIT_CONFLICT, EXIT_USAGE, CommandError

Jwk = dict[str, Any]
PURPOSE = ("ext_iss", "ext_aud", "alg", "ext_operator")


class Pair(Struct, frozen=True):
    """The private key set of a signer and the key set of its verifiers; two files."""

    private: Path
    public: Path


def members(file: Path) -> list[Jwk]:
    """The keys in a file, all of them usable. Raises CommandError."""
    document = files.read(file)
    try:
        parse_key_set(document)
    except InvalidKeySet as error:
        raise CommandError(f"{file}: {error}", EXIT_USAGE) from None
    keys: list[Jwk] = msgspec.json.decode(document)["keys"]
    return keys


def add(pair: Pair, kid: str = "") -> str:
    """Make a key like the one that signs now, and put it behind; return its name."""
    if pair.private.resolve() == pair.public.resolve():
        raise CommandError("--private and --public are the same file", EXIT_USAGE)
    keys, public = members(pair.private), members(pair.public)
    alike = _alike(keys, pair)
    if _position(alike[0], public) < 0:
        raise CommandError(f"{pair.public}: does not know key {alike[0]['kid']}", EXIT_USAGE)
    new = alike[-1]
    if len(alike) == 1:
        new = _like(alike[0], kid)
        _store(pair.private, [*keys, new])
    elif _position(new, public) >= 0:
        raise CommandError(
            f"{pair.private}: a rotation is under way; go on with --step switch or --step remove",
            EXIT_CONFLICT,
        )
    _store(pair.public, [*public, new if "k" in new else public_jwk(new)])
    return str(new["kid"])


def switch(pair: Pair) -> str:
    """Put the newest key in front, so that it signs; return its name."""
    keys, public = members(pair.private), members(pair.public)
    alike = _alike(keys, pair)
    # The order in which the verifiers learnt of them: it stays, however often this is repeated.
    new = max(alike, key=lambda jwk: _position(jwk, public))
    if len(alike) < 2 or any(_position(jwk, public) < 0 for jwk in alike):
        raise CommandError(
            f"{pair.private}: no second key that {pair.public} knows; begin with --step add",
            EXIT_CONFLICT,
        )
    _store(pair.private, [new, *(jwk for jwk in keys if jwk is not new)])
    return str(new["kid"])


def remove(pair: Pair) -> list[str]:
    """Take away the keys that the signing one replaced; return their names."""
    keys, public = members(pair.private), members(pair.public)
    signing, *others = _alike(keys, pair)
    if not others:
        raise CommandError(f"{pair.private}: there is no old key to remove", EXIT_CONFLICT)
    if any(_position(jwk, public) > _position(signing, public) for jwk in others):
        raise CommandError(
            f"{pair.private}: the old key still signs; --step switch comes first", EXIT_CONFLICT
        )
    gone = {jwk["kid"] for jwk in others}
    for file, jwks in ((pair.public, public), (pair.private, keys)):
        _store(file, [jwk for jwk in jwks if jwk["kid"] not in gone])
    return sorted(gone)


def _alike(keys: Sequence[Jwk], pair: Pair) -> list[Jwk]:
    """The keys that may stand in for each other, the one that signs first."""
    able = [jwk for jwk in keys if "d" in jwk or "k" in jwk]
    if not able:
        raise CommandError(f"{pair.private}: no key in it can sign", EXIT_USAGE)
    return [jwk for jwk in able if _purpose(jwk) == _purpose(able[0])]


def _like(key: Jwk, kid: str) -> Jwk:
    return generate_key(
        key["alg"],
        kid=kid or f"{key['ext_iss']}-{uuid4().hex[:8]}",
        issuer=key["ext_iss"],
        audiences=key["ext_aud"],
        operator=key.get("ext_operator", False),
    )


def _position(key: Jwk, public: Sequence[Jwk]) -> int:
    """Where the verifiers have a key, -1 where they do not."""
    return next((at for at, jwk in enumerate(public) if jwk["kid"] == key["kid"]), -1)


def _purpose(jwk: Mapping[str, Any]) -> list[Any]:
    return [sorted(value) if isinstance(value, list) else value for value in map(jwk.get, PURPOSE)]


def _store(file: Path, jwks: Sequence[Jwk]) -> None:
    secret = any("d" in jwk or "k" in jwk for jwk in jwks)
    files.write(file, key_set_document(jwks), files.PRIVATE if secret else files.PUBLIC)
