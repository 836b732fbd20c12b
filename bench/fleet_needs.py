"""The fleets needed for numbers of schedules that this machine cannot hold."""

from math import ceil

from msgspec import Struct

from bench.fleet_model import US, Costs, Fleet, simulate

SCHEDULES = (10**6, 10**7, 10**8)
SPREADS_S = (0, 60, 300, 900)
WITHIN_S = 30
"""How late the last run of a slot may start: what is planned later is catch-up."""
USED = 0.7
"""The share of a core that is planned for."""
MOST_CORES = 32
MOST_WAL_BYTES = 300e6
"""The assumed limits of one PostgreSQL: cores, and bytes of write-ahead log a second."""
SIMULATED = 400_000
"""The most schedules that are simulated; a larger fleet is scaled down."""
LIST_US, LIST_POSTGRES_US = 135, 80
CREATE_US, CREATE_POSTGRES_US = 195, 175
LISTS_PER_DAY, CREATES_PER_DAY = 2.0, 0.1
PEAK = 3.0
DAY_S = 86_400.0


class Profile(Struct, frozen=True):
    """How starts fall on minutes: all are hourly, ``at_full_hour`` of them at minute 0."""

    name: str
    at_full_hour: float

    def due(self, schedules: int) -> float:
        """Return how many are due in the busiest minute."""
        return schedules * (self.at_full_hour + (1 - self.at_full_hour) / 60)


PROFILES = (Profile("even", 0.0), Profile("half at the full hour", 0.5))


class FleetNeeds(Struct, frozen=True, kw_only=True):
    """What a number of schedules needs, and how late runs start then."""

    schedules: int
    profile: str
    spread_s: int
    due: int
    cells: int
    workers: int
    postgres_cores: int
    bus_cores: float
    responders: int
    p50_s: float
    p99_s: float
    max_s: float


def fleet_needs(costs: Costs) -> list[FleetNeeds]:
    """Print the needs as a table, and return them."""
    one = simulate(20_000, costs, Fleet(workers=1, postgres_cores=8))
    per_worker = 20_000 / one.done_s
    per_database = min(
        MOST_CORES * USED / (costs.postgres_us * US), MOST_WAL_BYTES / costs.wal_bytes
    )
    print(f"one worker on a core of its own fires {per_worker:,.0f}/s")
    print(
        f"one PostgreSQL ends at {per_database:,.0f}/s: {MOST_CORES} cores used to {USED:.0%},"
        f" {MOST_WAL_BYTES / 1e6:.0f} MB/s of write-ahead log at {costs.wal_bytes:,.0f} bytes each"
    )
    head = ("schedules", "spread", "due", "cells", "workers", "PG cores", "bus cores", "responders")
    found = []
    for profile in PROFILES:
        print(f"\n{profile.name}")
        print("".join(f"{name:>12}" for name in (*head, "p50", "p99", "max")))
        for schedules in SCHEDULES:
            for spread_s in SPREADS_S:
                needs = _needs_of(costs, profile, schedules, spread_s, per_worker, per_database)
                found.append(needs)
                print(
                    f"{schedules:>12,}{spread_s:>10} s{needs.due:>12,}{needs.cells:>12}"
                    f"{needs.workers:>12}{needs.postgres_cores:>12}{needs.bus_cores:>12.1f}"
                    f"{needs.responders:>12}{needs.p50_s:>10.1f} s{needs.p99_s:>10.1f} s"
                    f"{needs.max_s:>10.1f} s"
                )
    return found


def _needs_of(
    costs: Costs,
    profile: Profile,
    schedules: int,
    spread_s: int,
    per_worker: float,
    per_database: float,
) -> FleetNeeds:
    due = profile.due(schedules)
    # The following minutes have slots of their own, which are fired at the same time.
    besides = schedules * (1 - profile.at_full_hour) / 60 / 60
    rate = due / (WITHIN_S * USED + spread_s) + besides
    lists, creates = (schedules * n * PEAK / DAY_S for n in (LISTS_PER_DAY, CREATES_PER_DAY))
    asked = (lists * LIST_POSTGRES_US + creates * CREATE_POSTGRES_US) * US
    cells = max(1, ceil(rate / per_database))
    workers = max(2, ceil(rate / per_worker / USED))
    cores = max(2, ceil((rate * costs.postgres_us * US + asked) / USED))
    scale = max(1.0, due / SIMULATED)
    fleet = Fleet(
        workers=max(1, round(workers / scale)),
        postgres_cores=max(1.0, cores / scale) * max(1, round(workers / scale)) * scale / workers,
    )
    fired = simulate(round(due / scale), costs, fleet, spread_s)
    return FleetNeeds(
        schedules=schedules,
        profile=profile.name,
        spread_s=spread_s,
        due=round(due),
        cells=cells,
        workers=workers,
        postgres_cores=cores,
        bus_cores=round(rate * costs.bus_us * US / USED, 2),
        responders=max(2, ceil((lists * LIST_US + creates * CREATE_US) * US / USED)),
        p50_s=round(fired.p50_s, 1),
        p99_s=round(fired.p99_s, 1),
        max_s=round(fired.max_s, 1),
    )
