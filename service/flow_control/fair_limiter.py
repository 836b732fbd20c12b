"""Who may call now: a bound on all calls of a worker, shared fairly between tenants.

A tenant may have as many calls in flight as there are free seats left beside them. So one tenant
alone gets half of the seats, two get a third each, and there is always room for the next one.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from time import monotonic

from msgspec import Struct, field

LEAST_WAIT_S = 1.0
MOST_WAIT_S = 30.0
MEMORY_S = 60.0


class _Tenant(Struct):
    """``horizon``: when the seats will have worked off what was sent back (monotonic seconds)."""

    taken: int = 0
    waiting: deque[asyncio.Future[bool]] = field(default_factory=deque)
    average_s: float = 0.0
    horizon: float = 0.0


class Seats:
    """``capacity`` calls at once; the clock is only for how long to wait."""

    def __init__(self, capacity: int, clock: Callable[[], float] = monotonic) -> None:
        self.capacity = capacity
        self.taken = 0
        self._clock = clock
        self._tenants: dict[str, _Tenant] = {}
        self._patient: dict[str, _Tenant] = {}
        """Those with somebody waiting, the longest first."""

    async def take(self, tenant_id: str, patience_s: float) -> bool:
        """Take a seat, waiting a moment for one; False when none became free for this tenant."""
        tenant = self._tenants.setdefault(tenant_id, _Tenant())
        if not tenant.waiting and self._has_room(tenant):
            self._seat(tenant)
            return True
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bool] = loop.create_future()
        tenant.waiting.append(future)
        self._patient[tenant_id] = tenant
        timer = loop.call_later(patience_s, _give_up, tenant, future)
        try:
            return await future
        except asyncio.CancelledError:
            if not future.cancelled() and future.result():
                self.release(tenant_id, 0.0)
            raise
        finally:
            timer.cancel()
            if not tenant.waiting:
                self._patient.pop(tenant_id, None)

    def release(self, tenant_id: str, held_s: float) -> None:
        """Give a seat back, and seat who waits."""
        tenant = self._tenants[tenant_id]
        tenant.taken -= 1
        self.taken -= 1
        tenant.average_s += (held_s - tenant.average_s) / 8
        for waiting in self._patient.values():
            if self.taken >= self.capacity:
                break
            while waiting.waiting and self._has_room(waiting):
                future = waiting.waiting.popleft()
                if not future.done():
                    self._seat(waiting)
                    future.set_result(True)
        if tenant.taken == 0 and not tenant.waiting and tenant.horizon < self._clock() - MEMORY_S:
            self._tenants.pop(tenant_id, None)

    def defer(self, tenant_id: str) -> float:
        """Seconds to send a run back for: about when the tenant's seats have got to it."""
        tenant = self._tenants.setdefault(tenant_id, _Tenant())
        now = self._clock()
        pace = tenant.average_s / max(tenant.taken, 1)
        tenant.horizon = min(max(tenant.horizon, now + LEAST_WAIT_S) + pace, now + MOST_WAIT_S)
        return tenant.horizon - now

    def _has_room(self, tenant: _Tenant) -> bool:
        return tenant.taken < self.capacity - self.taken

    def _seat(self, tenant: _Tenant) -> None:
        tenant.taken += 1
        self.taken += 1


def _give_up(tenant: _Tenant, future: asyncio.Future[bool]) -> None:
    if not future.done():
        future.set_result(False)
    # All wait equally long, so those who give up stand in front.
    while tenant.waiting and tenant.waiting[0].done():
        del tenant.waiting[0]
