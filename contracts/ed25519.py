"""Ed25519 signatures (RFC 8032) by libsodium. Keys, messages and signatures are raw bytes."""

from nacl.bindings import (
    crypto_core_ed25519_is_valid_point,
    crypto_sign,
    crypto_sign_BYTES,
    crypto_sign_open,
    crypto_sign_seed_keypair,
    crypto_sign_SEEDBYTES,
)
from nacl.exceptions import BadSignatureError

SEED_BYTES: int = crypto_sign_SEEDBYTES


def is_signed(public: bytes, message: bytes, signature: bytes) -> bool:
    """Return whether the signature of a message is by the holder of a public key."""
    if len(signature) != crypto_sign_BYTES:
        return False
    try:
        crypto_sign_open(signature + message, public)
    except BadSignatureError:
        return False
    return True


def is_valid_public(public: bytes) -> bool:
    """Return whether 32 bytes are a public key to trust.

    Points of low order are not: anyone can write a valid signature for them.
    """
    valid: bool = crypto_core_ed25519_is_valid_point(public)
    return valid


def key_pair(seed: bytes) -> tuple[bytes, bytes]:
    """Return the public key and the private key that a seed of 32 bytes stands for."""
    public, private = crypto_sign_seed_keypair(seed)
    return public, private


def sign(private: bytes, message: bytes) -> bytes:
    """Return the signature of a message; equal input gives equal bytes."""
    signed: bytes = crypto_sign(message, private)
    return signed[:crypto_sign_BYTES]
