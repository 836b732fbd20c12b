"""Whether a context may act for an install: the context names the caller, the database decides."""

from collections.abc import Awaitable, Callable, Mapping

from contracts.capabilities import SCHEDULER
from contracts.errors import Code, ServiceError
from service.operations.context import Answer, Call, OperationFunction, OperationResult
from service.rules.capabilities import effective
from service.storage.platform import installs
from service.storage.platform.installs import Install


async def find_tenant(call: Call) -> Mapping[str, str]:
    """Return the tenant of the install where the context names none, as a log field; else nothing.

    Raises ServiceError NOT_FOUND when there is no such install.
    """
    if call.claims.tenant_id is not None:
        return {}
    tenant_id = await installs.tenant_of(call.connection, call.install_id)
    if tenant_id is None:
        raise _not_found()
    return {"tenant": tenant_id}


def host_operation(function: Callable[[Call, str], Awaitable[Answer]]) -> OperationFunction:
    """Return the operation that runs ``function`` with the tenant to look the install up in."""

    async def run(call: Call) -> OperationResult:
        if call.claims.tenant_id is not None:
            return OperationResult(await function(call, call.claims.tenant_id))
        log_fields = await find_tenant(call)
        try:
            return OperationResult(await function(call, log_fields["tenant"]), log_fields)
        except ServiceError as error:
            return OperationResult(error, log_fields)

    return run


async def missing_install(call: Call) -> ServiceError:
    """Return why no install was found: it is another tenant's, or does not exist."""
    if await installs.tenant_of(call.connection, call.install_id) is None:
        return _not_found()
    return ServiceError(Code.DENIED, "Install belongs to another tenant")


def authorize(install: Install, call: Call) -> None:
    """Raise ServiceError DENIED unless the context fits the install and it may schedule."""
    claims = call.claims
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
        declared_is_granted=call.policy.declared_is_granted,
    )
    is_granted = SCHEDULER in granted
    if claims.providers is not None:
        is_granted = is_granted and SCHEDULER in {name.strip().lower() for name in claims.providers}
    if not is_granted:
        raise ServiceError(Code.DENIED, f"Capability {SCHEDULER} is not granted")


def denial(install: Install, call: Call) -> ServiceError | None:
    """Return what ``authorize`` raises for this call, None where it raises nothing."""
    try:
        authorize(install, call)
    except ServiceError as error:
        return error
    return None


def _not_found() -> ServiceError:
    return ServiceError(Code.NOT_FOUND, "Install not found")
