-- Which Runners are called for a tenant; one without a row is in the default pool.
CREATE TABLE ext_scheduler.tenant_pools (
  tenant_id text PRIMARY KEY,
  -- A token of a subject, so neither a dot nor a wildcard.
  pool text NOT NULL CHECK (pool ~ '^[A-Za-z0-9_-]{1,64}$'),
  assigned_at timestamptz NOT NULL,
  assigned_by text NOT NULL
);
