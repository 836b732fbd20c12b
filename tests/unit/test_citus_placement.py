"""Which tables go where on Citus: the statements, held against what was recorded."""

from msgspec import structs

from service.storage.engine.citus import (
    DISTRIBUTED,
    ENDPOINTS,
    PLATFORM,
    SCHEDULES,
    PlacementState,
    placement,
)

TYPES = {
    **dict.fromkeys(DISTRIBUTED, "text"),
    **dict.fromkeys((*PLATFORM, SCHEDULES), "character varying"),
}

FRESH = [
    "SELECT create_reference_table('public.extension_api_endpoint')",
    "ALTER TABLE public.tenant_extension_schedule DROP CONSTRAINT tenant_extension_schedule_pkey",
    "ALTER TABLE public.tenant_extension_schedule ADD PRIMARY KEY (tenant_id, id)",
    "DROP INDEX public.tenant_extension_schedule_name",
    (
        "CREATE UNIQUE INDEX tenant_extension_schedule_name ON public.tenant_extension_schedule"
        " (tenant_id, install_id, name) WHERE name IS NOT NULL"
    ),
    (
        "SELECT create_distributed_table('public.tenant_extension_schedule', 'tenant_id',"
        " colocate_with => 'none')"
    ),
    "SELECT create_distributed_table('ext_scheduler.runs', 'tenant_id', colocate_with => 'none')",
    (
        "SELECT create_distributed_table('ext_scheduler.active_runs', 'tenant_id',"
        " colocate_with => 'ext_scheduler.runs')"
    ),
    (
        "SELECT create_distributed_table('ext_scheduler.idempotency', 'tenant_id',"
        " colocate_with => 'ext_scheduler.runs')"
    ),
    (
        "SELECT create_distributed_table('ext_scheduler.rate_windows', 'tenant_id',"
        " colocate_with => 'ext_scheduler.runs')"
    ),
    (
        "SELECT create_distributed_table('ext_scheduler.audit', 'tenant_id',"
        " colocate_with => 'ext_scheduler.runs')"
    ),
    (
        "SELECT create_distributed_table('ext_scheduler.outbox', 'tenant_id',"
        " colocate_with => 'ext_scheduler.runs')"
    ),
    (
        "SELECT create_distributed_table('ext_scheduler.tenant_pauses', 'tenant_id',"
        " colocate_with => 'ext_scheduler.runs')"
    ),
    (
        "SELECT create_distributed_table('ext_scheduler.run_attempts', 'tenant_id',"
        " colocate_with => 'ext_scheduler.runs')"
    ),
    (
        "SELECT create_distributed_table('ext_scheduler.tenant_pools', 'tenant_id',"
        " colocate_with => 'ext_scheduler.runs')"
    ),
]


def state(*placed: str, by_tenant: tuple[str, ...] = (), fresh: bool = False) -> PlacementState:
    """Return what is there; types are those of a database that our own migrations made."""
    return PlacementState(
        placed=frozenset({*placed, *by_tenant}),
        by_tenant=frozenset(by_tenant),
        types=TYPES,
        fresh=fresh,
    )


def test_a_fresh_database_gets_the_recorded_placement() -> None:
    assert placement(state(fresh=True)) == FRESH


def test_placed_tables_keep_their_placement() -> None:
    assert placement(state(ENDPOINTS, by_tenant=DISTRIBUTED)) == []


def test_the_platforms_local_table_stays_unchanged() -> None:
    assert placement(state(ENDPOINTS)) == FRESH[6:]


def test_tables_are_colocated_with_distributed_platform_tables_of_the_same_type() -> None:
    agreed = structs.replace(
        state(ENDPOINTS, by_tenant=(SCHEDULES,)), types=dict.fromkeys(DISTRIBUTED, "text")
    )
    statements = placement(agreed)
    assert all(f"colocate_with => '{SCHEDULES}'" in statement for statement in statements)
    assert len(statements) == 9


def test_schedules_are_colocated_with_distributed_installs() -> None:
    statements = placement(state(by_tenant=PLATFORM, fresh=True))
    assert statements[5] == FRESH[5].replace("'none'", f"'{PLATFORM[0]}'")
    assert [*statements[:5], *statements[6:]] == [*FRESH[:5], *FRESH[6:]]


def test_reference_or_otherwise_distributed_installs_do_not_change_the_placement() -> None:
    assert placement(state(*PLATFORM, fresh=True)) == FRESH
