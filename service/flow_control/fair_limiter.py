"""A bound on all concurrent calls of a worker, shared fairly between tenants.

A tenant may have as many calls in flight as there are free permits left. So one tenant alone gets
half of the permits, two get a third each, and there is always room for the next one.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from time import monotonic

from msgspec import Struct, field

MIN_RETRY_DELAY_S = 1.0
MAX_RETRY_DELAY_S = 30.0
IDLE_TENANT_MEMORY_S = 60.0
"""How long the average and the backlog of a tenant without calls are remembered."""


class _Tenant(Struct):
    """``backlog_until``: when what was sent back will have been worked off (monotonic seconds)."""

    in_use: int = 0
    waiting: deque[asyncio.Future[bool]] = field(default_factory=deque)
    average_s: float = 0.0
    backlog_until: float = 0.0


class FairLimiter:
    """Gives out ``capacity`` permits; the clock is only for how long to wait."""

    def __init__(self, capacity: int, clock: Callable[[], float] = monotonic) -> None:
        self.capacity = capacity
        self.in_use = 0
        self._clock = clock
        self._tenants: dict[str, _Tenant] = {}
        self._with_waiters: dict[str, _Tenant] = {}
        """The tenants with waiting callers, the longest waiting first."""

    @property
    def room(self) -> int:
        """Return how many permits are free, for one tenant or another."""
        return self.capacity - self.in_use

    def try_acquire(self, tenant_id: str) -> bool:
        """Acquire a permit if one is free for this tenant, and none of its callers waits."""
        tenant = self._tenants.setdefault(tenant_id, _Tenant())
        if tenant.waiting or not self._has_room(tenant):
            return False
        self._grant(tenant)
        return True

    async def acquire(self, tenant_id: str, timeout_s: float) -> bool:
        """Acquire a permit; False when none became free for this tenant in time."""
        if self.try_acquire(tenant_id):
            return True
        tenant = self._tenants[tenant_id]
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bool] = loop.create_future()
        tenant.waiting.append(future)
        self._with_waiters[tenant_id] = tenant
        timer = loop.call_later(timeout_s, _time_out, tenant, future)
        try:
            return await future
        except asyncio.CancelledError:
            if not future.cancelled() and future.result():
                self.release(tenant_id, 0.0)
            raise
        finally:
            timer.cancel()
            if not tenant.waiting:
                self._with_waiters.pop(tenant_id, None)

    def release(self, tenant_id: str, used_s: float) -> None:
        """Release a permit used for ``used_s`` seconds, and grant it to a waiting caller."""
        tenant = self._tenants[tenant_id]
        tenant.in_use -= 1
        self.in_use -= 1
        tenant.average_s += (used_s - tenant.average_s) / 8
        for other in self._with_waiters.values():
            if self.in_use >= self.capacity:
                break
            while other.waiting and self._has_room(other):
                future = other.waiting.popleft()
                if not future.done():
                    self._grant(other)
                    future.set_result(True)
        forget_before = self._clock() - IDLE_TENANT_MEMORY_S
        if tenant.in_use == 0 and not tenant.waiting and tenant.backlog_until < forget_before:
            self._tenants.pop(tenant_id, None)

    def retry_delay(self, tenant_id: str) -> float:
        """Return the seconds to send a run back for: about when a permit will be free for it."""
        tenant = self._tenants.setdefault(tenant_id, _Tenant())
        now = self._clock()
        pace_s = tenant.average_s / max(tenant.in_use, 1)
        earliest = max(tenant.backlog_until, now + MIN_RETRY_DELAY_S)
        tenant.backlog_until = min(earliest + pace_s, now + MAX_RETRY_DELAY_S)
        return tenant.backlog_until - now

    def _has_room(self, tenant: _Tenant) -> bool:
        return tenant.in_use < self.room

    def _grant(self, tenant: _Tenant) -> None:
        tenant.in_use += 1
        self.in_use += 1


def _time_out(tenant: _Tenant, future: asyncio.Future[bool]) -> None:
    if not future.done():
        future.set_result(False)
    # All wait equally long, so those whose time is up are in front.
    while tenant.waiting and tenant.waiting[0].done():
        del tenant.waiting[0]
