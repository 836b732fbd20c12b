"""Are the key files readable, private where they must be, and fit for what they are for?"""

import stat
import time
from collections.abc import Collection, Generator, Iterator
from pathlib import Path
from uuid import uuid4

import msgspec

from contracts.context import (
    DEFAULT_LIFETIME_S,
    Claims,
    ContextRefused,
    InvalidKeySet,
    KeySet,
    body_sha256,
    parse_key_set,
    sign,
    signing_key,
    verify,
)
from contracts.subjects import ADMIN_AUDIENCE, HOST_AUDIENCE, RUNNER_AUDIENCE
from service.cli.checks.result import Finding, note, ok, wrong
from service.runtime.settings import Settings

MEANING = {
    HOST_AUDIENCE: "host operations",
    ADMIN_AUDIENCE: "admin operations",
    RUNNER_AUDIENCE: "execute requests",
}


def look(settings: Settings, roles: Collection[str]) -> Iterator[Finding]:
    """Look at every key file that the settings name and the roles need."""
    keys = None
    if Path(settings.key_set_file).exists() or set(roles) != {"admin"}:
        keys = yield from _key_set(settings)
    if "worker" in roles:
        file = Path(settings.runner_key_file)
        yield _signer("runner_key_file", file, RUNNER_AUDIENCE, keys)
    if settings.host_key_file:
        yield _signer("host_key_file", Path(settings.host_key_file), HOST_AUDIENCE, keys)
    if "admin" in roles or Path(settings.admin_key_file).exists():
        yield _signer("admin_key_file", Path(settings.admin_key_file), ADMIN_AUDIENCE, keys)
    if settings.callback_token_file:
        yield _secret("callback_token_file", Path(settings.callback_token_file))


def _key_set(settings: Settings) -> Generator[Finding, None, KeySet | None]:
    """Look at what contexts are verified with; return it, None where it cannot be used."""
    about, file = "key_set_file", Path(settings.key_set_file)
    try:
        document = file.read_bytes()
        keys = parse_key_set(document)
    except OSError as error:
        remedy = "make one with `ext-scheduler keys generate --public`, or set the setting"
        yield wrong(about, f"{file}: {error.strerror}", remedy)
        return None
    except InvalidKeySet as error:
        yield wrong(about, f"{file}: {error}", "repair the file")
        return None
    audiences = {audience for key in keys.keys.values() for audience in key.audiences}
    yield ok(about, f"{file}: {len(keys.keys)} keys")
    for audience, meaning in MEANING.items():
        if audience not in audiences:
            yield note(about, f"no key for {meaning} ({audience})", "all of these are refused")
    members = msgspec.json.decode(document)["keys"]
    private = [jwk["kid"] for jwk in members if "d" in jwk]
    if private:
        named = ", ".join(private)
        yield note(about, f"holds private keys it does not need: {named}", "keep public parts only")
    return keys


def _signer(about: str, file: Path, audience: str, keys: KeySet | None) -> Finding:
    """Sign with it, and see whether the verifiers would accept that."""
    try:
        key = signing_key(parse_key_set(file.read_bytes()), audience)
    except OSError as error:
        remedy = f"make it with `ext-scheduler keys generate`, or set EXT_SCHEDULER_{about.upper()}"
        return wrong(about, f"{file}: {error.strerror}", remedy)
    except InvalidKeySet as error:
        return wrong(about, f"{file}: {error}", "name a private key set made for this purpose")
    if keys is not None:
        now = int(time.time())
        claims = Claims(
            iss=key.issuer,
            aud=audience,
            iat=now,
            exp=now + DEFAULT_LIFETIME_S,
            jti=uuid4(),
            op="check",
            body_sha256=body_sha256(b""),
            install_id=uuid4(),
            tenant_id="check",
            sub="check",
            permissions=(),
        )
        token = sign(claims, key)
        try:
            verify(token, keys, audience=audience, op="check", body=b"", now=now)
        except ContextRefused as refused:
            return wrong(
                about,
                f"{file}: the key set refuses what {key.kid!r} signs ({refused.reason})",
                "add its public part to key_set_file",
            )
    return _guarded(about, file, f"{file}: {key.kid!r} signs {MEANING[audience]}")


def _secret(about: str, file: Path) -> Finding:
    try:
        text = file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        return wrong(about, f"{file}: {error}", "write the token there that the Runner has")
    if not text:
        return wrong(about, f"{file}: empty", "write the token there that the Runner has")
    return _guarded(about, file, f"{file}: there")


def _guarded(about: str, file: Path, message: str) -> Finding:
    """Right, unless others may read the file too."""
    if file.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH):
        return note(about, f"{file}: everybody on this host may read it", f"chmod 600 {file}")
    return ok(about, message)
