"""The rights of the role that ``serve`` connects as: what its statements need, and no more.

Tables belong to the role that migrates. What only their owner may do, but the service needs, is
done by functions of the database that check their own arguments.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from msgspec import Struct

from service.storage.engine.connection import Connection

ALL = ("SELECT", "INSERT", "UPDATE", "DELETE")
TABLES: Mapping[str, Sequence[str]] = MappingProxyType(
    {
        "ext_scheduler.active_runs": ALL,
        "ext_scheduler.audit": ("SELECT", "INSERT"),
        "ext_scheduler.facts": ("SELECT", "INSERT", "UPDATE"),
        "ext_scheduler.idempotency": ("SELECT", "INSERT", "DELETE"),
        "ext_scheduler.migrations": ("SELECT",),
        "ext_scheduler.outbox": ALL,
        "ext_scheduler.pgqueuer": ALL,
        "ext_scheduler.pgqueuer_log": ("SELECT", "DELETE"),
        "ext_scheduler.rate_windows": ALL,
        "ext_scheduler.run_attempts": ("SELECT", "INSERT", "DELETE"),
        "ext_scheduler.runs": ALL,
        "ext_scheduler.runs_default": ("SELECT", "DELETE"),
        "ext_scheduler.tenant_pauses": ALL,
        "ext_scheduler.tenant_pools": ALL,
        "ext_scheduler.timers": ALL,
        "ext_scheduler.webhook_deliveries": ALL,
        "ext_scheduler.workers": ALL,
        "public.extension_api_endpoint": ("SELECT", "INSERT"),
        "public.extension_bundle": ("SELECT", "INSERT"),
        "public.extension_registry": ("SELECT", "INSERT"),
        "public.extension_version": ("SELECT", "INSERT", "UPDATE"),
        "public.tenant_extension_install": ALL,
        "public.tenant_extension_install_config": ("SELECT", "DELETE"),
        "public.tenant_extension_install_secrets": ("SELECT", "DELETE"),
        "public.tenant_extension_schedule": ALL,
    }
)
SEQUENCES = ("ext_scheduler.pgqueuer_id_seq",)
FUNCTIONS = (
    "ext_scheduler.create_run_partition(date)",
    "ext_scheduler.drop_run_partition(date)",
    "ext_scheduler.delete_expired_audit(timestamptz, integer)",
)

MAX_NAME_BYTES = 63
_GUARD = "$guard$"

# Of a role that exists. Rights through PUBLIC and other roles count.
MISSING_RIGHTS = """
SELECT format('%s on %s', string_agg(w.verb, ', ' ORDER BY w.position), w.name) AS missing
FROM unnest($2::text[], $3::text[]) WITH ORDINALITY AS w (name, verb, position)
WHERE NOT CASE
  WHEN w.verb = 'EXECUTE' THEN has_function_privilege($1::name, w.name, w.verb)
  WHEN w.verb = 'USAGE' THEN has_sequence_privilege($1::name, w.name, w.verb)
  ELSE has_table_privilege($1::name, w.name, w.verb) END
GROUP BY w.name
ORDER BY min(w.position)
"""

MISSING_SCHEMAS = """
SELECT format('USAGE on schema %s', s.name) AS missing
FROM unnest(ARRAY['ext_scheduler', 'public']) AS s (name)
WHERE NOT has_schema_privilege($1::name, s.name, 'USAGE')
"""

POWERS = """
SELECT r.rolsuper AS is_superuser,
  EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = 'ext_scheduler'::regnamespace
    AND pg_has_role(r.oid, c.relowner, 'USAGE')) AS is_owner,
  ARRAY(SELECT s.name FROM unnest(ARRAY['ext_scheduler', 'public']) AS s (name)
    WHERE has_schema_privilege(r.oid, s.name, 'CREATE')) AS creates_in,
  ARRAY(SELECT format('%s on %s', v.verb, c.oid::regclass)
    FROM pg_class c CROSS JOIN unnest(ARRAY['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) AS v (verb)
    WHERE c.relnamespace = 'ext_scheduler'::regnamespace AND c.relkind IN ('r', 'p')
      AND has_table_privilege(r.oid, c.oid, v.verb)
      AND NOT EXISTS (SELECT FROM unnest($2::text[], $3::text[]) AS w (name, verb)
        WHERE w.name = c.oid::regclass::text AND w.verb = v.verb)
    ORDER BY 1) AS writes
FROM pg_roles r WHERE r.rolname = $1::name
"""


class InvalidRoleError(ValueError):
    """No role can have this name; the message says why."""


class ExcessRights(Struct, frozen=True):
    """What a role may do that ``serve`` never does."""

    is_superuser: bool
    is_owner: bool
    creates_in: list[str]
    writes: list[str]

    def __str__(self) -> str:
        """Return the gravest kind, as the end of a sentence about the role; empty for none."""
        if self.is_superuser:
            return "is a superuser"
        if self.is_owner:
            return "owns tables of schema ext_scheduler"
        if self.creates_in:
            return f"may create tables in schema {' and '.join(self.creates_in)}"
        return f"has {', '.join(self.writes)}" if self.writes else ""


def as_sql(role: str) -> str:
    """Return a script that gives a role exactly what ``serve`` needs, whatever it had before.

    For ``psql`` or a driver, as the owner of the tables. Raises InvalidRoleError.
    """
    name, literal = _quoted(role), "'" + role.replace("'", "''") + "'"
    grants = "\n".join(
        (
            f"GRANT USAGE ON SCHEMA ext_scheduler TO {name};",
            *(f"GRANT {', '.join(verbs)} ON {table} TO {name};" for table, verbs in TABLES.items()),
            *(f"GRANT USAGE ON SEQUENCE {sequence} TO {name};" for sequence in SEQUENCES),
            *(f"GRANT EXECUTE ON FUNCTION {function} TO {name};" for function in FUNCTIONS),
        )
    )
    return f"""\
BEGIN;
DO {_GUARD} BEGIN
  IF pg_has_role({literal}, (SELECT relowner FROM pg_class
    WHERE oid = 'ext_scheduler.runs'::regclass), 'USAGE')
  THEN
    RAISE EXCEPTION 'role % owns the tables, or may act as their owner', {literal}
      USING HINT = 'Name the role that serve connects as.';
  END IF;
END {_GUARD};
REVOKE ALL ON ALL TABLES IN SCHEMA ext_scheduler FROM {name};
REVOKE ALL ON ALL SEQUENCES IN SCHEMA ext_scheduler FROM {name};
REVOKE ALL ON SCHEMA ext_scheduler FROM {name};
{grants}
COMMIT;
"""


async def current_role(connection: Connection) -> str:
    """Return the role that the connection acts as."""
    role: str = await connection.fetchval("SELECT current_user::text")
    return role


async def missing(connection: Connection, role: str) -> list[str]:
    """Return what an existing role lacks, such as ``UPDATE on ext_scheduler.runs``."""
    rows = await connection.fetch(MISSING_SCHEMAS, role)
    if not rows:  # without a schema nothing in it can be asked about
        rows = await connection.fetch(MISSING_RIGHTS, role, *_columns())
    return [row["missing"] for row in rows]


async def excess(connection: Connection, role: str) -> ExcessRights:
    """Return what an existing role may do beyond what ``serve`` needs."""
    row = await connection.fetchrow(POWERS, role, *_columns())
    if row is None:
        raise InvalidRoleError(f"role {_quoted(role)} does not exist")
    return ExcessRights(**row)


def _columns() -> tuple[list[str], list[str]]:
    rights = [(table, verb) for table, verbs in TABLES.items() for verb in verbs]
    rights += [(sequence, "USAGE") for sequence in SEQUENCES]
    rights += [(function, "EXECUTE") for function in FUNCTIONS]
    return [name for name, _ in rights], [verb for _, verb in rights]


def _quoted(role: str) -> str:
    if not role or len(role.encode()) > MAX_NAME_BYTES:
        raise InvalidRoleError(f"a role's name has 1 to {MAX_NAME_BYTES} bytes")
    if not role.isprintable() or _GUARD in role:
        raise InvalidRoleError("the role's name has characters that are not allowed here")
    return '"' + role.replace('"', '""') + '"'
