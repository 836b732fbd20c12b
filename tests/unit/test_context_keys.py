"""Key sets: what is refused at reading, and that nothing secret ever shows."""

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from contracts import base64url
from contracts.context import (
    InvalidKeySet,
    generate_key,
    key_set_document,
    parse_key_set,
    public_jwk,
    signing_key,
)

HOST, ADMIN, RUNNER = "ext.scheduler", "ext.scheduler.admin", "ext.runner"
SECRET = generate_key("HS256", kid="secret", issuer="runner", audiences=[HOST])
EDWARDS = generate_key("EdDSA", kid="edwards", issuer="runner", audiences=[HOST, RUNNER])


ZERO_SEED_PUBLIC = base64url.encode(
    Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key().public_bytes_raw()
).decode()


def fault(*jwks: dict[str, Any]) -> str:
    with pytest.raises(InvalidKeySet) as caught:
        parse_key_set(json.dumps({"keys": jwks}).encode())
    text = str(caught.value)
    for jwk in (SECRET, EDWARDS):
        assert all(jwk[part] not in text for part in ("k", "d", "x") if part in jwk)
    return text


def without(jwk: dict[str, Any], member: str) -> dict[str, Any]:
    return {name: value for name, value in jwk.items() if name != member}


def test_a_key_pins_issuer_algorithm_and_audiences_together() -> None:
    key = parse_key_set(key_set_document([EDWARDS])).keys["edwards"]
    assert (key.alg, key.issuer, key.operator) == ("EdDSA", "runner", False)
    assert key.audiences == {HOST, RUNNER}


def test_an_empty_set_is_a_set() -> None:
    assert not parse_key_set(b'{"keys": []}').keys


@pytest.mark.parametrize(
    "document",
    [b"", b"[]", b"{}", b"\xff", b'{"keys": {}}', b'{"keys": [1]}', b'{"keys":[],"keys":[]}'],
)
def test_a_malformed_key_set_is_refused(document: bytes) -> None:
    with pytest.raises(InvalidKeySet, match="key set"):
        parse_key_set(document)


@pytest.mark.parametrize("member", ["alg", "ext_iss", "ext_aud", "kty", "k"])
def test_a_key_without_a_required_member_is_refused(member: str) -> None:
    assert fault(without(SECRET, member)).startswith("key 'secret': ")


@pytest.mark.parametrize("member", ["alg", "ext_iss", "ext_aud", "kty", "crv", "x"])
def test_an_edwards_key_without_a_required_member_is_refused(member: str) -> None:
    assert fault(without(EDWARDS, member)).startswith("key 'edwards': ")


@pytest.mark.parametrize("kid", [None, "", 7])
def test_a_key_without_a_name_is_refused_by_its_place(kid: object) -> None:
    assert fault(EDWARDS, SECRET | {"kid": kid}) == "key number 2: kid is missing"


def test_a_name_used_twice_is_refused() -> None:
    assert fault(SECRET, EDWARDS | {"kid": "secret"}) == "key 'secret': kid appears twice"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"k": "c2hvcnQ"}, "at least 32 bytes"),
        ({"k": SECRET["k"] + "="}, "not base64url"),
        ({"k": 7}, "not base64url"),
        ({"alg": "HS512"}, "alg must be"),
        ({"alg": "none"}, "alg must be"),
        ({"alg": "EdDSA"}, "needs kty OKP"),
        ({"kty": "RSA"}, "needs kty oct"),
        ({"ext_iss": ""}, "ext_iss"),
        ({"ext_aud": []}, "ext_aud"),
        ({"ext_aud": HOST}, "ext_aud"),
        ({"ext_aud": ["ext.schedulr"]}, "ext_aud"),
        ({"ext_aud": [[HOST]]}, "ext_aud"),
        ({"ext_operator": "true"}, "ext_operator"),
        ({"ext_operator": 1}, "ext_operator"),
        ({"k": "A" * 43}, "one byte repeated"),
        ({"use": "enc"}, "use is not sig"),
        ({"use": ["sig"]}, "use is not sig"),
        ({"key_ops": ["encrypt"]}, "neither verify nor sign"),
        ({"key_ops": []}, "neither verify nor sign"),
        ({"key_ops": "sign"}, "key_ops is not a list"),
        ({"key_ops": [{}]}, "key_ops is not a list"),
    ],
)
def test_a_key_that_must_not_be_used_is_refused(change: dict[str, Any], words: str) -> None:
    assert words in fault(SECRET | change)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"x": "AAAA"}, "x is not an Ed25519 key"),
        ({"d": "AAAA"}, "d is not an Ed25519 key"),
        ({"d": None}, "d is missing"),
        ({"crv": "X25519"}, "crv Ed25519"),
        ({"alg": "HS256"}, "needs kty oct"),
        ({"x": []}, "x is missing"),
        ({"x": "A" * 43}, "not a valid Ed25519 point"),
        ({"x": ZERO_SEED_PUBLIC, "d": "A" * 43}, "one byte repeated"),
        ({"use": "enc"}, "use is not sig"),
        ({"key_ops": ["deriveKey"]}, "neither verify nor sign"),
    ],
)
def test_an_edwards_key_that_must_not_be_used_is_refused(
    change: dict[str, Any], words: str
) -> None:
    assert words in fault(EDWARDS | change)


@pytest.mark.parametrize("x", [[], {}, 7, None])
def test_a_secret_with_a_member_of_another_kind_of_key_is_read(x: object) -> None:
    document = json.dumps({"keys": [SECRET | {"x": x}]}).encode()
    assert set(parse_key_set(document).keys) == {"secret"}


def test_a_key_does_only_what_its_operations_allow() -> None:
    assert "neither verify nor sign" in fault(public_jwk(EDWARDS) | {"key_ops": ["sign"]})
    signer = EDWARDS | {"use": "sig", "key_ops": ["sign"]}
    [signing] = parse_key_set(key_set_document([signer])).keys.values()
    [verifying] = parse_key_set(key_set_document([public_jwk(signer)])).keys.values()
    assert signing.sign is not None
    signature = signing.sign(b"message")
    assert not signing.check(b"message", signature)
    assert verifying.sign is None
    assert verifying.check(b"message", signature)
    # Elsewhere a signature may be checked only by what alone decides here.
    assert signing.public is None
    assert verifying.public == base64url.decode(EDWARDS["x"].encode())
    assert parse_key_set(key_set_document([SECRET])).keys["secret"].public is None


def test_a_byte_order_mark_before_a_key_set_is_no_part_of_it() -> None:
    assert set(parse_key_set(b"\xef\xbb\xbf" + key_set_document([SECRET])).keys) == {"secret"}


def test_a_private_part_of_another_key_is_refused() -> None:
    other = generate_key("EdDSA", kid="other", issuer="runner", audiences=[HOST])
    assert "do not belong together" in fault(EDWARDS | {"d": other["d"]})


def test_a_public_key_that_is_also_a_secret_is_refused() -> None:
    assert "public part" in fault(EDWARDS, SECRET | {"k": EDWARDS["x"]})


def test_a_repr_shows_no_key_material() -> None:
    keys = parse_key_set(key_set_document([SECRET, EDWARDS]))
    shown = repr(keys) + repr(list(keys.keys.values())) + str(keys.keys["secret"])
    for secret in (SECRET["k"], EDWARDS["d"], EDWARDS["x"]):
        assert secret not in shown
    assert "edwards" in shown


def test_a_public_jwk_has_no_private_part() -> None:
    public = public_jwk(EDWARDS)
    assert "d" not in public
    assert parse_key_set(key_set_document([public])).keys["edwards"].sign is None
    with pytest.raises(InvalidKeySet, match="no public part"):
        public_jwk(SECRET)


def test_the_first_key_that_can_sign_for_the_audience_signs() -> None:
    second = generate_key("EdDSA", kid="second", issuer="runner", audiences=[HOST, ADMIN])
    keys = parse_key_set(key_set_document([public_jwk(EDWARDS), SECRET, second]))
    assert signing_key(keys, HOST).kid == "secret"
    assert signing_key(keys, ADMIN).kid == "second"
    assert signing_key(keys, HOST, "second").kid == "second"
    for audience, kid in ((RUNNER, None), (HOST, "edwards"), (HOST, "nobody")):
        with pytest.raises(InvalidKeySet, match="no key can sign"):
            signing_key(keys, audience, kid)


@pytest.mark.parametrize(
    "wrong", [{"alg": "RS256"}, {"kid": ""}, {"issuer": ""}, {"audiences": ["elsewhere"]}]
)
def test_no_unusable_key_is_generated(wrong: dict[str, Any]) -> None:
    right: dict[str, Any] = {"alg": "EdDSA", "kid": "k", "issuer": "i", "audiences": [HOST]}
    with pytest.raises(InvalidKeySet):
        generate_key(**(right | wrong))


LOW_ORDER = [
    bytes(32),
    b"\x01" + bytes(31),
    b"\xec" + b"\xff" * 30 + b"\x7f",
    bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
]


@pytest.mark.parametrize("point", LOW_ORDER, ids=lambda point: point.hex()[:8])
def test_a_public_key_of_low_order_is_refused(point: bytes) -> None:
    jwk = without({**EDWARDS, "x": base64url.encode(point).decode()}, "d")
    assert fault(jwk) == "key 'edwards': x is not a valid Ed25519 point"


def test_a_signature_has_one_form() -> None:
    key = parse_key_set(key_set_document([EDWARDS])).keys["edwards"]
    assert key.sign is not None
    signature = key.sign(b"message")
    order = 2**252 + 27742317777372353535851937790883648493
    scalar = int.from_bytes(signature[32:], "little") + order
    malleable = signature[:32] + scalar.to_bytes(32, "little")
    assert key.check(b"message", signature)
    for other in (malleable, signature[:-1], signature + b"\0", b"", bytes(64)):
        assert not key.check(b"message", other)
    # A byte moved across the border of signature and message is not the same message.
    assert not key.check(signature[-1:] + b"message", signature[:-1])


def test_another_library_reads_and_writes_the_same_signatures() -> None:
    key = parse_key_set(key_set_document([EDWARDS])).keys["edwards"]
    private = Ed25519PrivateKey.from_private_bytes(base64url.decode(EDWARDS["d"].encode()))
    assert key.sign is not None
    assert key.sign(b"message") == private.sign(b"message")
    private.public_key().verify(key.sign(b"message"), b"message")
