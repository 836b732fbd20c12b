"""What a token must look like: header, signature, spelling, strict JSON."""

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from joserfc import jws
from joserfc.jwk import OctKey, OKPKey

from contracts import base64url
from contracts.context import (
    MAX_TOKEN_BYTES,
    TOKEN_TYPE,
    Claims,
    ContextRefused,
    InvalidKeySet,
    Reason,
    key_set_document,
    parse_key_set,
    public_jwk,
    sign,
    verify,
)
from tests.support.tokens import (
    BODY,
    GOOD,
    HOST,
    INSTALL,
    JWKS,
    KEYS,
    NOW,
    check,
    compact,
    compact_segments,
    refusal,
    token,
)


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"kid": "nobody"}, Reason.UNKNOWN_KEY),
        ({"kid": None}, Reason.UNKNOWN_KEY),
        ({"kid": ["hs"]}, Reason.UNKNOWN_KEY),
        ({"kid": "ed"}, Reason.ALGORITHM),
        ({"alg": "none"}, Reason.ALGORITHM),
        ({"alg": "None"}, Reason.ALGORITHM),
        ({"alg": "hs256"}, Reason.ALGORITHM),
        ({"alg": "HS512"}, Reason.ALGORITHM),
        ({"alg": "EdDSA"}, Reason.ALGORITHM),
        ({"alg": None}, Reason.ALGORITHM),
        ({"alg": ["HS256"]}, Reason.ALGORITHM),
        ({"typ": "JWT"}, Reason.TYPE),
        ({"typ": None}, Reason.TYPE),
        ({"crit": ["exp"]}, Reason.CRITICAL),
        ({"crit": ["b64"], "b64": False}, Reason.CRITICAL),
        ({"crit": []}, Reason.CRITICAL),
    ],
)
def test_a_header_that_decides_for_itself_is_refused(
    header: dict[str, Any], reason: Reason
) -> None:
    assert refusal(token(GOOD, **header)) is reason


def test_an_unsigned_token_is_refused() -> None:
    header, payload, _ = token(GOOD, alg="none").split(".")
    assert refusal(f"{header}.{payload}.") is Reason.ALGORITHM
    header, payload, _ = token(GOOD).split(".")
    assert refusal(f"{header}.{payload}.") is Reason.SIGNATURE


def test_a_public_key_used_as_secret_signs_nothing() -> None:
    public = base64url.decode(JWKS["ed"]["x"].encode())
    forged = jws.serialize_compact(
        {"alg": "HS256", "kid": "ed", "typ": TOKEN_TYPE},
        json.dumps(GOOD),
        OctKey.import_key(public),
        algorithms=["HS256"],
    )
    assert refusal(forged) is Reason.ALGORITHM


def test_another_key_under_a_known_kid_is_refused() -> None:
    forged = jws.serialize_compact(
        {"alg": "HS256", "kid": "hs", "typ": TOKEN_TYPE},
        json.dumps(GOOD),
        OctKey.import_key(b"z" * 32),
        algorithms=["HS256"],
    )
    assert refusal(forged) is Reason.SIGNATURE


def test_a_kid_from_the_header_is_never_a_key() -> None:
    own = OKPKey.generate_key("Ed25519")
    forged = jws.serialize_compact(
        {"alg": "Ed25519", "kid": "ed", "typ": TOKEN_TYPE, "jwk": own.as_dict(private=False)},
        json.dumps(GOOD),
        own,
        algorithms=["Ed25519"],
    )
    assert refusal(forged) is Reason.SIGNATURE


@pytest.mark.parametrize("text", [None, ""])
def test_a_missing_token_is_refused(text: str | None) -> None:
    assert refusal(text) is Reason.MISSING


@pytest.mark.parametrize(
    "text",
    [
        ".",
        "..",
        "...",
        "a.b",
        "a.b.c",
        "a.b.c.d",
        "é.é.é",
        "\udc80.a.b",
        "{}.{}.{}",
        "e30.e30.e30.",
    ],
)
def test_a_malformed_compact_token_is_refused(text: str) -> None:
    assert refusal(text) is Reason.MALFORMED


def test_an_oversize_token_is_refused_unread() -> None:
    assert refusal("a" * (MAX_TOKEN_BYTES + 1)) is Reason.OVERSIZE
    assert refusal(token(GOOD | {"sub": "x" * MAX_TOKEN_BYTES})) is Reason.OVERSIZE


@pytest.mark.parametrize(
    "spoil",
    [
        lambda segment: segment + b"=",
        lambda segment: segment + b"==",
        lambda segment: segment + b"\n",
        lambda segment: b" " + segment,
        lambda segment: segment[:5] + b"\n" + segment[5:],
        lambda segment: segment[:4] + b"+" + segment[5:],
        lambda segment: segment[:4] + b"/" + segment[5:],
        lambda segment: segment[:4] + b"%" + segment[5:],
    ],
)
@pytest.mark.parametrize("place", [0, 1])
def test_other_spellings_of_base64url_are_refused_though_signed(
    spoil: Callable[[bytes], bytes], place: int
) -> None:
    segments = token(GOOD).encode().split(b".")[:2]
    segments[place] = spoil(segments[place])
    assert refusal(compact_segments(segments[0], segments[1])) is Reason.MALFORMED


def test_stray_bits_in_the_last_character_are_refused() -> None:
    good = token(GOOD)
    assert len(good.rpartition(".")[2]) == 43
    last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    stray = good[:-1] + last[last.index(good[-1]) ^ 1]
    assert refusal(stray) is Reason.MALFORMED


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b"null",
        b"{",
        b"{} {}",
        b"\xef\xbb\xbf{}",
        b'{"a":"\xff"}',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":"\\ud800"}',
        b'{"a":"\\u0000"}',
        b'{"a":{"b":1,"b":1}}',
        b'{"a":' + b"9" * 2500 + b"}",
        b"[" * 2500,
        b'{"a":' * 400 + b"1" + b"}" * 399,
    ],
)
def test_a_signed_payload_that_is_no_strict_json_object_is_refused(payload: bytes) -> None:
    header = json.dumps({"alg": "HS256", "kid": "hs", "typ": TOKEN_TYPE}).encode()
    assert refusal(compact(header, payload)) in {Reason.MALFORMED, Reason.CLAIMS}


def test_a_member_that_appears_twice_is_refused_in_header_and_payload() -> None:
    good = json.dumps(GOOD).encode()
    twice = good[:-1] + b',"op":"create"}'
    header = json.dumps({"alg": "HS256", "kid": "hs", "typ": TOKEN_TYPE}).encode()
    header_twice = header[:-1] + b',"kid":"hs"}'
    assert check(compact(header, good)).op == "create"
    assert refusal(compact(header, twice)) is Reason.MALFORMED
    assert refusal(compact(header_twice, good)) is Reason.MALFORMED


def test_a_refusal_shows_nothing_of_the_token() -> None:
    with pytest.raises(ContextRefused) as caught:
        check(token(GOOD | {"sub": "very-private"}, typ="JWT"))
    assert str(caught.value) == "type"


def test_a_public_key_alone_verifies_but_cannot_sign() -> None:
    verifier = parse_key_set(key_set_document([public_jwk(JWKS["ed"])]))
    asked: dict[str, Any] = {"audience": HOST, "op": "create", "body": BODY, "now": NOW}
    assert verify(token(GOOD, "ed"), verifier, **asked).op == "create"
    with pytest.raises(InvalidKeySet, match="cannot sign"):
        sign(msgspec.convert(GOOD, Claims), verifier.keys["ed"])


def test_an_independent_library_reads_our_tokens_and_we_read_its() -> None:
    jwk = JWKS["hs"]
    key = OctKey.import_key({"kty": "oct", "k": jwk["k"]})
    ours = sign(msgspec.convert(GOOD, Claims), KEYS.keys["hs"])
    assert json.loads(jws.deserialize_compact(ours, key, algorithms=["HS256"]).payload) == GOOD
    edwards = OKPKey.import_key({n: JWKS["new-name"][n] for n in ("kty", "crv", "x", "d")})
    header = {"alg": "Ed25519", "kid": "new-name", "typ": TOKEN_TYPE}
    theirs = jws.serialize_compact(header, json.dumps(GOOD), edwards, algorithms=["Ed25519"])
    assert check(theirs).install_id == INSTALL
