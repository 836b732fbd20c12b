"""Files that prove who connects to NATS: ``.creds`` files, nkey seeds, client certificates.

The client library reads such files at each connect, and does not end on one without a JWT; they are
read and judged here, once, and given to it as text.
"""

import re
import ssl
from pathlib import Path

import nkeys  # type: ignore[import-untyped]  # it has no types

_BLOCK = r"-----BEGIN {0}-----\s+(\S+)\s+-+END {0}-+"
_JWT = re.compile(_BLOCK.format("NATS USER JWT"))
_SEED = re.compile(_BLOCK.format("USER NKEY SEED"))
_TOKEN = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+")
CREDS_FORM = "-----BEGIN NATS USER JWT-----\n{}\n-----BEGIN USER NKEY SEED-----\n{}\n"


class CredentialsUnusableError(Exception):
    """A file cannot be used to connect; the message names it and shows nothing of it."""


def read_creds(file: Path) -> str:
    """Return the JWT and seed of a ``.creds`` file. Raises CredentialsUnusableError."""
    text = _read(file)
    jwt, seed = _JWT.search(text), _SEED.search(text)
    if jwt is None or seed is None or not _TOKEN.fullmatch(jwt[1]):
        raise CredentialsUnusableError(
            f"{file}: not a .creds file with a user JWT and an nkey seed"
        )
    _check_user_seed(file, seed[1])
    return CREDS_FORM.format(jwt[1], seed[1])


def read_nkey_seed(file: Path) -> str:
    """Return the seed of a user in a file of its own. Raises CredentialsUnusableError."""
    text = _read(file)
    block = _SEED.search(text)
    seed = block[1] if block else text.strip()
    _check_user_seed(file, seed)
    return seed


def tls_context(ca_file: str, cert_file: str, key_file: str) -> ssl.SSLContext | None:
    """Return what a connection trusts and how it proves itself; None where no file is named.

    Raises CredentialsUnusableError.
    """
    if not ca_file and not cert_file:
        return None
    try:
        context = ssl.create_default_context(cafile=ca_file or None)
    except (OSError, ssl.SSLError) as error:
        raise CredentialsUnusableError(f"certificate authority {ca_file}: {error}") from None
    if cert_file:
        try:
            # A key with a passphrase is an error: OpenSSL would ask the terminal for it.
            context.load_cert_chain(cert_file, key_file, password="")
        except (OSError, ssl.SSLError) as error:
            reason = getattr(error, "reason", None) or error.strerror or "not usable"
            message = f"client certificate {cert_file} with key {key_file}: {reason}"
            raise CredentialsUnusableError(message) from None
    return context


def describe_identity(user: str | None, other: object) -> str:
    """Describe the identity that a server refused, and what to check about it."""
    if user is not None:
        return f"user {user!r}: check the user name and password"
    if other is not None:
        return "the token, .creds file or nkey: is it one of this server's, and still valid?"
    return "a client without credentials: set a user, token, .creds file or nkey"


def _check_user_seed(file: Path, seed: str) -> None:
    try:
        public = nkeys.from_seed(bytearray(seed.encode())).public_key
    except (nkeys.NkeysError, ValueError, TypeError):
        raise CredentialsUnusableError(f"{file}: not the nkey seed of a user") from None
    if not public.startswith(b"U"):
        raise CredentialsUnusableError(f"{file}: not the nkey seed of a user")


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise CredentialsUnusableError(f"{file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise CredentialsUnusableError(f"{file}: not a text file") from None
