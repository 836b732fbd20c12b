"""May this context act for this install? The context says who asks, the database what is."""

from contracts.context import Claims
from contracts.errors import Code, ServiceError
from service.operations.context import Call
from service.rules.capabilities import SCHEDULER, effective
from service.storage.platform import installs
from service.storage.platform.installs import Install


async def tenant_of(call: Call) -> str:
    """Return the tenant to look the install up in: the context's word, else the database's.

    Raises ServiceError NOT_FOUND when there is no such install.
    """
    if call.claims.tenant_id is not None:
        return call.claims.tenant_id
    tenant_id = await installs.tenant_of(call.connection, call.install_id)
    if tenant_id is None:
        raise _unknown()
    call.found["tenant"] = tenant_id
    return tenant_id


async def absent(call: Call) -> ServiceError:
    """Return why no install was found: it is another tenant's, or there is none."""
    if await installs.tenant_of(call.connection, call.install_id) is None:
        return _unknown()
    return ServiceError(Code.DENIED, "Install belongs to another tenant")


def authorize(install: Install, claims: Claims, *, declared_is_granted: bool) -> None:
    """Raise ServiceError DENIED unless the context fits the install and it may schedule."""
    if claims.version_id is not None and claims.version_id.lower() != str(install.version_id):
        raise ServiceError(Code.DENIED, "Install has another version now")
    extension_id = claims.extension_id
    if extension_id is not None and extension_id.lower() != str(install.registry_id):
        raise ServiceError(Code.DENIED, "Install is of another extension")
    if not install.enabled:
        raise ServiceError(Code.DENIED, "Install is disabled")
    granted = effective(
        install.granted,
        install.providers,
        install.declared,
        declared_is_granted=declared_is_granted,
    )
    held = SCHEDULER in granted
    if claims.providers is not None:
        held = held and SCHEDULER in {name.strip().lower() for name in claims.providers}
    if not held:
        raise ServiceError(Code.DENIED, f"Capability {SCHEDULER} is not granted")


def denial(install: Install, call: Call) -> ServiceError | None:
    """Return what ``authorize`` raises for this call, None where it raises nothing."""
    try:
        authorize(install, call.claims, declared_is_granted=call.declared_is_granted)
    except ServiceError as error:
        return error
    return None


def _unknown() -> ServiceError:
    return ServiceError(Code.NOT_FOUND, "Install not found")
