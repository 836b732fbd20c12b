"""The scheduler as a Python host embeds it: one method per operation, under the same name.

The outcome of an operation is returned as its typed output, also when it is negative (``success``
is false and the field errors are set). What kept it from being considered at all raises
``contracts.errors.ServiceError``.
"""

from collections.abc import Mapping
from typing import Any, TypeVar
from uuid import UUID

from msgspec import Struct

from contracts.schedules import (
    HOST_OPS,
    CreateInput,
    CreateOutput,
    DeleteInput,
    DeleteOutput,
    GetEndpointsInput,
    GetEndpointsOutput,
    GetInput,
    GetOutput,
    ListInput,
    ListOutput,
    UpdateInput,
    UpdateOutput,
)
from contracts.subjects import HOST_AUDIENCE
from runner_bridge.requests import Principal, SignedRequests

__all__ = ["InstallContext", "SchedulerHost"]

T = TypeVar("T", bound=Struct)


class InstallContext(Struct, frozen=True, kw_only=True):
    """The install that a host acts for, as far as the host knows it.

    Members that are set are checked against the database. ``providers`` are the capabilities that
    this execution was granted; when set, ``cap:scheduler.manage`` must be among them.
    """

    install_id: UUID
    tenant_id: str | None = None
    version_id: str | None = None
    extension_id: str | None = None
    providers: tuple[str, ...] | None = None


class SchedulerHost:
    """The host operations, on behalf of one install.

    ``jti`` repeats an earlier request: a change is made at most once for each, and its stored
    result returned. All methods raise ServiceError, see ``SignedRequests.ask``.
    """

    def __init__(
        self, requests: SignedRequests, install: InstallContext, traceparent: str | None = None
    ) -> None:
        self._requests = requests
        self._traceparent = traceparent
        self._principal = Principal(
            audience=HOST_AUDIENCE,
            install_id=install.install_id,
            tenant_id=install.tenant_id,
            version_id=install.version_id,
            extension_id=install.extension_id,
            providers=install.providers,
        )

    async def list(self) -> ListOutput:
        """List the install's schedules, by creation time."""
        return await self._ask("list", ListInput(), ListOutput)

    async def get(self, request: GetInput) -> GetOutput:
        """Get one schedule; null for one that is not the install's."""
        return await self._ask("get", request, GetOutput)

    async def create(self, request: CreateInput, *, jti: UUID | None = None) -> CreateOutput:
        """Create a schedule."""
        return await self._ask("create", request, CreateOutput, jti)

    async def update(self, request: UpdateInput, *, jti: UUID | None = None) -> UpdateOutput:
        """Change a schedule; fields left UNSET are unchanged."""
        return await self._ask("update", request, UpdateOutput, jti)

    async def delete(self, request: DeleteInput, *, jti: UUID | None = None) -> DeleteOutput:
        """Remove a schedule."""
        return await self._ask("delete", request, DeleteOutput, jti)

    async def get_endpoints(self) -> GetEndpointsOutput:
        """List the endpoints of the install's version."""
        return await self._ask("getEndpoints", GetEndpointsInput(), GetEndpointsOutput)

    async def call(self, op: str, fields: Mapping[str, Any], *, jti: UUID | None = None) -> Struct:
        """Call an operation by its wire name with unchecked fields.

        The service validates them, so that the extension gets its field errors.

        Raises:
            KeyError: no such operation.
        """
        return await self._ask(op, fields, HOST_OPS[op].output, jti)

    async def _ask(self, op: str, fields: object, output: type[T], jti: UUID | None = None) -> T:
        return await self._requests.ask(
            self._principal, op, fields, output, jti=jti, traceparent=self._traceparent
        )
