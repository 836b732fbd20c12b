"""Each way in which a token can prove nothing, and what a good one is."""

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

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
    body_sha256,
    generate_key,
    key_set_document,
    parse_key_set,
    public_jwk,
    sign,
    verify,
)

HOST, ADMIN, RUNNER = "ext.scheduler", "ext.scheduler.admin", "ext.runner"
BODY = b'{"cron":"0 * * * *"}'
NOW = 1_700_000_000.25
INSTALL = UUID("5a8e5c5e-0000-4000-8000-000000000001")
JWKS = {
    "hs": generate_key("HS256", kid="hs", issuer="runner", audiences=[HOST]),
    "ed": generate_key("EdDSA", kid="ed", issuer="runner", audiences=[HOST]),
    "new-name": generate_key("Ed25519", kid="new-name", issuer="runner", audiences=[HOST]),
    "platform": generate_key("EdDSA", kid="platform", issuer="platform", audiences=[ADMIN]),
    "operator": generate_key(
        "EdDSA", kid="operator", issuer="operator", audiences=[ADMIN], operator=True
    ),
    "worker": generate_key("HS256", kid="worker", issuer="worker", audiences=[RUNNER]),
}
KEYS = parse_key_set(key_set_document(list(JWKS.values())))

GOOD: dict[str, Any] = {
    "iss": "runner",
    "aud": HOST,
    "iat": 1_700_000_000,
    "exp": 1_700_000_060,
    "jti": "5a8e5c5e-0000-4000-8000-00000000000a",
    "op": "create",
    "body_sha256": body_sha256(BODY),
    "install_id": str(INSTALL),
}
GOOD_ADMIN: dict[str, Any] = {
    name: value for name, value in GOOD.items() if name != "install_id"
} | {
    "iss": "platform",
    "aud": ADMIN,
    "op": "runNow",
    "sub": "user-7",
    "tenant_id": "tenant-1",
    "permissions": ["extension:read"],
}


def token(claims: object, by: str = "hs", **header: Any) -> str:
    """Sign whatever is given, as a holder of the key could."""
    fields = {"alg": JWKS[by]["alg"], "kid": by, "typ": TOKEN_TYPE} | header
    return compact(json.dumps(fields).encode(), json.dumps(claims).encode(), by)


def compact(header: bytes, payload: bytes, kid: str = "hs") -> str:
    return compact_segments(base64url.encode(header), base64url.encode(payload), kid)


def compact_segments(header: bytes, payload: bytes, kid: str = "hs") -> str:
    make = KEYS.keys[kid].sign
    assert make is not None
    message = header + b"." + payload
    return (message + b"." + base64url.encode(make(message))).decode()


def check(
    text: str | None,
    *,
    audience: str = HOST,
    op: str = "create",
    body: bytes = BODY,
    now: float = NOW,
) -> Claims:
    return verify(text, KEYS, audience=audience, op=op, body=body, now=now)


def refusal(text: str | None, **asked: Any) -> Reason:
    with pytest.raises(ContextRefused) as caught:
        check(text, **asked)
    assert caught.value.__cause__ is None
    return caught.value.reason


@pytest.mark.parametrize("kid", ["hs", "ed", "new-name"])
def test_what_is_signed_is_accepted_and_comes_back(kid: str) -> None:
    claims = msgspec.convert(GOOD, Claims)
    assert check(sign(claims, KEYS.keys[kid])) == claims


def test_an_admin_token_carries_who_acts_for_whom() -> None:
    claims = check(token(GOOD_ADMIN, "platform"), audience=ADMIN, op="runNow")
    assert claims.sub == "user-7"
    assert claims.tenant_id == "tenant-1"
    assert claims.permissions == ("extension:read",)


def test_an_operator_may_act_for_all_tenants() -> None:
    good = GOOD_ADMIN | {"iss": "operator", "tenant_id": "*"}
    assert check(token(good, "operator"), audience=ADMIN, op="runNow").tenant_id == "*"


def test_an_execute_token_needs_no_install() -> None:
    good = {name: value for name, value in GOOD.items() if name != "install_id"}
    good |= {"iss": "worker", "aud": RUNNER, "op": "execute"}
    assert check(token(good, "worker"), audience=RUNNER, op="execute").install_id is None


def test_unknown_claims_and_header_members_are_ignored() -> None:
    assert check(token(GOOD | {"new": {"a": 1}}, cty="x")).jti == UUID(GOOD["jti"])


def test_both_names_of_the_edwards_curve_algorithm_are_one() -> None:
    assert check(token(GOOD, "ed", alg="Ed25519")).op == "create"
    assert check(token(GOOD, "new-name", alg="EdDSA")).op == "create"


@pytest.mark.parametrize(
    ("claim", "value", "reason"),
    [
        ("iss", "somebody", Reason.ISSUER),
        ("aud", RUNNER, Reason.AUDIENCE),
        ("aud", ADMIN, Reason.AUDIENCE),
        ("op", "delete", Reason.OPERATION),
        ("op", "Create", Reason.OPERATION),
        ("body_sha256", body_sha256(b""), Reason.BODY),
        ("body_sha256", body_sha256(BODY) + "=", Reason.BODY),
        ("exp", 1_700_000_121, Reason.LIFETIME),
        ("exp", 1_700_000_000, Reason.LIFETIME),
        ("exp", 1_600_000_000, Reason.LIFETIME),
        ("exp", 10**40, Reason.LIFETIME),
        ("nbf", 1_700_000_011, Reason.NOT_YET_VALID),
        ("tenant_id", "*", Reason.TENANT),
    ],
)
def test_a_claim_that_says_something_else_is_refused(
    claim: str, value: object, reason: Reason
) -> None:
    assert refusal(token(GOOD | {claim: value})) is reason


@pytest.mark.parametrize(
    ("claim", "value"),
    [
        ("iss", ""),
        ("iss", 7),
        ("aud", [HOST]),
        ("iat", True),
        ("iat", 1_700_000_000.0),
        ("iat", "1700000000"),
        ("exp", True),
        ("exp", 1_700_000_060.5),
        ("exp", None),
        ("nbf", "0"),
        ("jti", "not-a-uuid"),
        ("jti", ""),
        ("op", 1),
        ("body_sha256", 1),
        ("install_id", "install-1"),
        ("install_id", None),
        ("tenant_id", 5),
        ("tenant_id", ""),
        ("version_id", 5),
        ("extension_id", []),
        ("providers", "cap:scheduler.manage"),
        ("providers", [1]),
        ("providers", None),
        ("sub", None),
        ("permissions", {"extension:write": True}),
    ],
)
def test_an_ill_typed_claim_is_refused(claim: str, value: object) -> None:
    assert refusal(token(GOOD | {claim: value})) is Reason.CLAIMS


@pytest.mark.parametrize("claim", sorted(GOOD))
def test_a_missing_claim_is_refused(claim: str) -> None:
    rest = {name: value for name, value in GOOD.items() if name != claim}
    assert refusal(token(rest)) is Reason.CLAIMS


@pytest.mark.parametrize("claim", ["sub", "permissions", "tenant_id"])
def test_an_admin_token_without_its_own_claims_is_refused(claim: str) -> None:
    rest = {name: value for name, value in GOOD_ADMIN.items() if name != claim}
    assert refusal(token(rest, "platform"), audience=ADMIN, op="runNow") is Reason.CLAIMS


def test_only_an_operators_key_speaks_for_all_tenants() -> None:
    everywhere = token(GOOD_ADMIN | {"tenant_id": "*"}, "platform")
    assert refusal(everywhere, audience=ADMIN, op="runNow") is Reason.TENANT


def test_a_runners_key_never_makes_an_admin_token() -> None:
    forged = token(GOOD_ADMIN | {"iss": "runner"}, "hs")
    assert refusal(forged, audience=ADMIN, op="runNow") is Reason.AUDIENCE


def test_a_token_for_one_realm_is_refused_in_another() -> None:
    assert refusal(token(GOOD), audience=ADMIN) is Reason.AUDIENCE
    assert refusal(token(GOOD_ADMIN, "platform"), op="runNow") is Reason.AUDIENCE


def test_a_token_for_another_body_is_refused() -> None:
    assert refusal(token(GOOD), body=BODY + b" ") is Reason.BODY
    assert refusal(token(GOOD), body=b"") is Reason.BODY


def test_an_empty_body_is_hashed_too() -> None:
    empty = token(GOOD | {"body_sha256": body_sha256(b"")})
    assert check(empty, body=b"").op == "create"
    assert refusal(empty, body=b"{}") is Reason.BODY


@pytest.mark.parametrize(
    ("now", "reason"),
    [
        (1_700_000_069.9, None),
        (1_700_000_070.0, Reason.EXPIRED),
        (1_699_999_990.0, None),
        (1_699_999_989.9, Reason.NOT_YET_VALID),
    ],
)
def test_the_clocks_may_be_ten_seconds_apart(now: float, reason: Reason | None) -> None:
    if reason is None:
        assert check(token(GOOD), now=now).op == "create"
    else:
        assert refusal(token(GOOD), now=now) is reason


def test_the_longest_life_is_two_minutes() -> None:
    assert check(token(GOOD | {"exp": 1_700_000_120})).exp == 1_700_000_120


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
def test_no_token_is_refused(text: str | None) -> None:
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
def test_what_is_no_compact_token_is_refused(text: str) -> None:
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


def test_a_public_key_alone_checks_but_cannot_sign() -> None:
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
