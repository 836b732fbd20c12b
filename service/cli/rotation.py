"""The steps of a key rotation, as changes to two files: the signer's and the verifiers'.

The first suitable key in the signer's file signs, so the new key is placed after the old one until
the verifiers know it. Each step may be repeated, and resumed after an interruption.
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
from contracts.strict_json import strip_bom
from service.cli import files
from service.cli.errors import EXIT_CONFLICT, EXIT_USAGE, CommandError

Jwk = dict[str, Any]
PURPOSE_MEMBERS = ("ext_iss", "ext_aud", "alg", "ext_operator")


class KeyFiles(Struct, frozen=True):
    """The files of a signer's private key set and of its verifiers' key set."""

    private: Path
    public: Path


def read_keys(file: Path) -> list[Jwk]:
    """Return the keys in a file, all of them usable. Raises CommandError."""
    document = files.read(file)
    try:
        parse_key_set(document)
    except InvalidKeySet as error:
        raise CommandError(f"{file}: {error}", EXIT_USAGE) from None
    keys: list[Jwk] = msgspec.json.decode(strip_bom(document))["keys"]
    return keys


def add(key_files: KeyFiles, kid: str = "") -> str:
    """Add a key of the same purpose after the one that signs; return its id."""
    if key_files.private.resolve() == key_files.public.resolve():
        raise CommandError("--private and --public are the same file", EXIT_USAGE)
    keys, public = read_keys(key_files.private), read_keys(key_files.public)
    matching = _matching_keys(keys, key_files)
    if _index(matching[0], public) < 0:
        raise CommandError(
            f"{key_files.public}: does not contain key {matching[0]['kid']}", EXIT_USAGE
        )
    new = matching[-1]
    if len(matching) == 1:
        new = _generate_like(matching[0], kid)
        _write_keys(key_files.private, [*keys, new])
    elif _index(new, public) >= 0:
        raise CommandError(
            f"{key_files.private}: rotation in progress; continue with --step switch or remove",
            EXIT_CONFLICT,
        )
    _write_keys(key_files.public, [*public, new if "k" in new else public_jwk(new)])
    return str(new["kid"])


def switch(key_files: KeyFiles) -> str:
    """Move the newest key to the front, so that it signs; return its id."""
    keys, public = read_keys(key_files.private), read_keys(key_files.public)
    matching = _matching_keys(keys, key_files)
    # Order by the verifiers' file: repeating this step does not change it.
    new = max(matching, key=lambda jwk: _index(jwk, public))
    if len(matching) < 2 or any(_index(jwk, public) < 0 for jwk in matching):
        raise CommandError(
            f"{key_files.private}: no new key that is in {key_files.public}; start with --step add",
            EXIT_CONFLICT,
        )
    _write_keys(key_files.private, [new, *(jwk for jwk in keys if jwk is not new)])
    return str(new["kid"])


def remove(key_files: KeyFiles) -> list[str]:
    """Remove the keys that the signing one replaced; return their ids."""
    keys, public = read_keys(key_files.private), read_keys(key_files.public)
    signing, *others = _matching_keys(keys, key_files)
    if not others:
        raise CommandError(f"{key_files.private}: no old key to remove", EXIT_CONFLICT)
    if any(_index(jwk, public) > _index(signing, public) for jwk in others):
        raise CommandError(
            f"{key_files.private}: the old key still signs; run --step switch first", EXIT_CONFLICT
        )
    removed = {jwk["kid"] for jwk in others}
    for file, jwks in ((key_files.public, public), (key_files.private, keys)):
        _write_keys(file, [jwk for jwk in jwks if jwk["kid"] not in removed])
    return sorted(removed)


def _matching_keys(keys: Sequence[Jwk], key_files: KeyFiles) -> list[Jwk]:
    """Return the private keys of the same purpose, the one that signs first."""
    private = [jwk for jwk in keys if "d" in jwk or "k" in jwk]
    if not private:
        raise CommandError(f"{key_files.private}: contains no key that can sign", EXIT_USAGE)
    return [jwk for jwk in private if _purpose(jwk) == _purpose(private[0])]


def _generate_like(key: Jwk, kid: str) -> Jwk:
    return generate_key(
        key["alg"],
        kid=kid or f"{key['ext_iss']}-{uuid4().hex[:8]}",
        issuer=key["ext_iss"],
        audiences=key["ext_aud"],
        operator=key.get("ext_operator", False),
    )


def _index(key: Jwk, public: Sequence[Jwk]) -> int:
    """Return a key's index in the verifiers' file, -1 where it is missing."""
    return next((index for index, jwk in enumerate(public) if jwk["kid"] == key["kid"]), -1)


def _purpose(jwk: Mapping[str, Any]) -> list[Any]:
    return [
        sorted(value) if isinstance(value, list) else value
        for value in map(jwk.get, PURPOSE_MEMBERS)
    ]


def _write_keys(file: Path, jwks: Sequence[Jwk]) -> None:
    secret = any("d" in jwk or "k" in jwk for jwk in jwks)
    files.write(file, key_set_document(jwks), files.PRIVATE if secret else files.PUBLIC)
