"""Which tables go where on Citus: the statements, held against what was recorded."""

from service.storage.citus import DISTRIBUTED, ENDPOINTS, SCHEDULES, State, placement

TYPES = {**dict.fromkeys(DISTRIBUTED, "text"), SCHEDULES: "character varying"}

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
        "SELECT create_distributed_table('ext_scheduler.tenant_pauses', 'tenant_id',"
        " colocate_with => 'ext_scheduler.runs')"
    ),
]


def test_a_fresh_database_is_placed_as_recorded() -> None:
    assert placement(State(placed=frozenset(), types=TYPES, fresh=True)) == FRESH


def test_what_is_placed_stays_where_it_is() -> None:
    everything = frozenset({*DISTRIBUTED, ENDPOINTS})
    assert placement(State(placed=everything, types=TYPES, fresh=False)) == []


def test_the_platforms_local_table_stays_as_it_was_found() -> None:
    statements = placement(State(placed=frozenset({ENDPOINTS}), types=TYPES, fresh=False))
    assert statements == FRESH[6:]


def test_what_the_platform_has_distributed_is_joined_where_the_types_agree() -> None:
    types = dict.fromkeys(DISTRIBUTED, "text")
    statements = placement(
        State(placed=frozenset({SCHEDULES, ENDPOINTS}), types=types, fresh=False)
    )
    assert all(f"colocate_with => '{SCHEDULES}'" in statement for statement in statements)
    assert len(statements) == 6
