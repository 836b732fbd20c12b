"""Checks whether key files are readable, private where required, and valid for their purpose."""

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
from contracts.strict_json import strip_bom
from contracts.subjects import ADMIN_AUDIENCE, HOST_AUDIENCE, RUNNER_AUDIENCE
from service.cli.checks.result import CheckResult, error, ok, warning
from service.runtime.settings import Settings
from service.runtime.settings_sources import FILE_ENCODING

PURPOSES = {
    HOST_AUDIENCE: "host operations",
    ADMIN_AUDIENCE: "admin operations",
    RUNNER_AUDIENCE: "execute requests",
}


def run_checks(settings: Settings, roles: Collection[str]) -> Iterator[CheckResult]:
    """Check every key file that the settings name and the roles use."""
    keys = None
    if Path(settings.key_set_file).exists() or set(roles) != {"admin"}:
        keys = yield from _check_key_set(settings)
    if "worker" in roles:
        file = Path(settings.runner_key_file)
        yield _check_signer("runner_key_file", file, RUNNER_AUDIENCE, keys)
    if settings.host_key_file:
        yield _check_signer("host_key_file", Path(settings.host_key_file), HOST_AUDIENCE, keys)
    if "admin" in roles or Path(settings.admin_key_file).exists():
        yield _check_signer("admin_key_file", Path(settings.admin_key_file), ADMIN_AUDIENCE, keys)
    if settings.callback_token_file:
        yield _check_secret("callback_token_file", Path(settings.callback_token_file))
    for about in ("nats_creds_file", "nats_nkey_file", "nats_tls_key_file"):
        file = Path(getattr(settings, about))
        if file.is_file() and _is_exposed(file):
            yield _exposed(about, file)


def _check_key_set(settings: Settings) -> Generator[CheckResult, None, KeySet | None]:
    """Check the keys that contexts are verified with; return them, None where they are unusable."""
    about, file = "key_set_file", Path(settings.key_set_file)
    try:
        document = file.read_bytes()
        keys = parse_key_set(document)
    except OSError as failure:
        remedy = "create one with `ext-scheduler keys generate --public`, or correct the setting"
        yield error(about, f"{file}: {failure.strerror}", remedy)
        return None
    except InvalidKeySet as invalid:
        yield error(about, f"{file}: {invalid}", "correct the file")
        return None
    audiences = {audience for key in keys.keys.values() for audience in key.audiences}
    yield ok(about, f"{file}: {len(keys.keys)} keys")
    for audience, purpose in PURPOSES.items():
        if audience not in audiences:
            yield warning(about, f"no key for {purpose} ({audience})", "all of these are refused")
    members = msgspec.json.decode(strip_bom(document))["keys"]
    private = [jwk["kid"] for jwk in members if "d" in jwk]
    if private:
        message = f"holds private keys it does not need: {', '.join(private)}"
        yield warning(about, message, "keep the public parts only")
    if any("d" in jwk or "k" in jwk for jwk in members) and _is_exposed(file):
        yield _exposed(about, file)
    return keys


def _check_signer(about: str, file: Path, audience: str, keys: KeySet | None) -> CheckResult:
    """Sign with a key, and check that the key set accepts the signature."""
    try:
        key = signing_key(parse_key_set(file.read_bytes()), audience)
    except OSError as failure:
        setting = f"EXT_SCHEDULER_{about.upper()}"
        remedy = f"create it with `ext-scheduler keys generate`, or correct {setting}"
        return error(about, f"{file}: {failure.strerror}", remedy)
    except InvalidKeySet as invalid:
        return error(about, f"{file}: {invalid}", "use a private key set made for this purpose")
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
            return error(
                about,
                f"{file}: the key set refuses signatures by {key.kid!r} ({refused.reason})",
                "add its public part to key_set_file",
            )
    return _check_mode(about, file, f"{file}: {key.kid!r} signs {PURPOSES[audience]}")


def _check_secret(about: str, file: Path) -> CheckResult:
    remedy = "write the Runner's token to it"
    try:
        text = file.read_text(encoding=FILE_ENCODING).strip()
    except (OSError, UnicodeDecodeError) as failure:
        return error(about, f"{file}: {failure}", remedy)
    if not text:
        return error(about, f"{file}: empty", remedy)
    return _check_mode(about, file, f"{file}: readable")


def _check_mode(about: str, file: Path, message: str) -> CheckResult:
    """Return ok with ``message``, or an error where other users can access the file."""
    return _exposed(about, file) if _is_exposed(file) else ok(about, message)


def _is_exposed(file: Path) -> bool:
    return bool(file.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH))


def _exposed(about: str, file: Path) -> CheckResult:
    message = f"{file}: holds a secret and is accessible to all users of this host"
    return error(about, message, f"chmod 600 {file}")
