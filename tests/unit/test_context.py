"""What a token must say, and each claim that makes it prove nothing."""

from uuid import UUID

import msgspec
import pytest

from contracts.context import (
    Claims,
    Reason,
    body_sha256,
    sign,
)
from tests.support.tokens import (
    ADMIN,
    BODY,
    GOOD,
    GOOD_ADMIN,
    HOST,
    KEYS,
    RUNNER,
    check,
    refusal,
    token,
)


@pytest.mark.parametrize("kid", ["hs", "ed", "new-name"])
def test_a_signed_token_verifies_to_its_claims(kid: str) -> None:
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
def test_a_claim_with_another_value_is_refused(claim: str, value: object, reason: Reason) -> None:
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


def test_only_an_operators_key_may_sign_for_all_tenants() -> None:
    everywhere = token(GOOD_ADMIN | {"tenant_id": "*"}, "platform")
    assert refusal(everywhere, audience=ADMIN, op="runNow") is Reason.TENANT


def test_a_runners_key_never_signs_an_admin_token() -> None:
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


def test_the_maximum_lifetime_of_a_token_is_two_minutes() -> None:
    assert check(token(GOOD | {"exp": 1_700_000_120})).exp == 1_700_000_120
