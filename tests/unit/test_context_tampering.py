"""A byte changed anywhere, in a token, a body or a subject, is noticed."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.context import (
    Claims,
    ContextRefused,
    body_sha256,
    generate_key,
    key_set_document,
    parse_key_set,
    sign,
    verify,
)
from contracts.schedules import HOST_OPS
from contracts.subjects import AUDIENCES, HOST_AUDIENCE

KEYS = parse_key_set(
    key_set_document(
        [
            generate_key(alg, kid=alg, issuer="runner", audiences=sorted(AUDIENCES))
            for alg in ("HS256", "EdDSA")
        ]
    )
)
BODY = bytes(range(256))
IAT = 1_700_000_000
TOKENS = {
    kid: sign(
        Claims(
            iss="runner",
            aud=HOST_AUDIENCE,
            iat=IAT,
            exp=IAT + 60,
            jti=UUID(int=1),
            op="create",
            body_sha256=body_sha256(BODY),
            install_id=UUID(int=2),
            tenant_id="tenant",
            sub="user",
            permissions=(),
        ),
        key,
    )
    for kid, key in KEYS.keys.items()
}


def accepted(
    token: str, body: bytes = BODY, audience: str = HOST_AUDIENCE, op: str = "create"
) -> bool:
    try:
        verify(token, KEYS, audience=audience, op=op, body=body, now=IAT + 1)
    except ContextRefused:
        return False
    return True


@pytest.mark.parametrize("kid", sorted(TOKENS))
def test_the_untouched_token_is_accepted(kid: str) -> None:
    assert accepted(TOKENS[kid])


@pytest.mark.parametrize("kid", sorted(TOKENS))
def test_changing_any_character_of_a_token_is_detected(kid: str) -> None:
    token = TOKENS[kid]
    for place in range(len(token)):
        other = "A" if token[place] != "A" else "B"
        assert not accepted(token[:place] + other + token[place + 1 :])
        assert not accepted(token[:place] + token[place + 1 :])


@given(kid=st.sampled_from(sorted(TOKENS)), place=st.integers(0, 10_000), byte=st.characters())
def test_a_tampered_token_is_refused(kid: str, place: int, byte: str) -> None:
    token = TOKENS[kid]
    place %= len(token)
    tampered = token[:place] + byte + token[place + 1 :]
    assert accepted(tampered) == (tampered == token)


@given(kid=st.sampled_from(sorted(TOKENS)), place=st.integers(0, 10_000), more=st.text(min_size=1))
def test_a_token_with_something_inserted_is_refused(kid: str, place: int, more: str) -> None:
    token = TOKENS[kid]
    place %= len(token) + 1
    assert not accepted(token[:place] + more + token[place:])


@given(kid=st.sampled_from(sorted(TOKENS)), place=st.integers(0, 255), flip=st.integers(1, 255))
def test_a_tampered_body_is_refused(kid: str, place: int, flip: int) -> None:
    tampered = bytearray(BODY)
    tampered[place] ^= flip
    assert not accepted(TOKENS[kid], bytes(tampered))


@pytest.mark.parametrize("kid", sorted(TOKENS))
def test_every_single_byte_of_a_body_counts(kid: str) -> None:
    for place, byte in enumerate(BODY):
        assert not accepted(TOKENS[kid], BODY[:place] + bytes([byte ^ 1]) + BODY[place + 1 :])
        assert not accepted(TOKENS[kid], BODY[:place] + BODY[place + 1 :])


@given(kid=st.sampled_from(sorted(TOKENS)), body=st.binary())
def test_another_body_is_refused(kid: str, body: bytes) -> None:
    assert accepted(TOKENS[kid], body) == (body == BODY)


@given(
    op=st.sampled_from(sorted(HOST_OPS)) | st.text(), audience=st.sampled_from(sorted(AUDIENCES))
)
def test_another_subject_is_refused(op: str, audience: str) -> None:
    for token in TOKENS.values():
        meant = (op, audience) == ("create", HOST_AUDIENCE)
        assert accepted(token, op=op, audience=audience) == meant


@given(place=st.integers(0, len("create") - 1), character=st.characters())
def test_a_tampered_subject_is_refused(place: int, character: str) -> None:
    op = "create"[:place] + character + "create"[place + 1 :]
    audience = HOST_AUDIENCE[:place] + character + HOST_AUDIENCE[place + 1 :]
    for token in TOKENS.values():
        assert accepted(token, op=op) == (op == "create")
        assert accepted(token, audience=audience) == (audience == HOST_AUDIENCE)


@given(text=st.text(), body=st.binary())
def test_random_tokens_are_refused_cleanly(text: str, body: bytes) -> None:
    assert not accepted(text, body)
    assert not accepted(".".join([text] * 3), body)
