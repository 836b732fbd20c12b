-- What the service keeps for itself. tenant_id is part of every key, so that each per-tenant table
-- can be distributed by it.

CREATE SCHEMA IF NOT EXISTS ext_scheduler;

-- The only additions to a platform table: defaulted or nullable columns, and indexes to read one install's
-- and one tenant's rows by.
ALTER TABLE tenant_extension_schedule ADD COLUMN IF NOT EXISTS revision bigint DEFAULT 1;
ALTER TABLE tenant_extension_schedule ADD COLUMN IF NOT EXISTS missing_endpoint boolean DEFAULT false;
-- The slot of the run that the last-run fields tell of: an older run that ends late leaves them alone.
ALTER TABLE tenant_extension_schedule ADD COLUMN IF NOT EXISTS last_run_slot timestamptz;
CREATE INDEX IF NOT EXISTS tenant_extension_schedule_by_install
  ON tenant_extension_schedule (install_id, created_at, id);
CREATE INDEX IF NOT EXISTS tenant_extension_schedule_by_tenant
  ON tenant_extension_schedule (tenant_id, id);

-- One row for each enabled schedule: its next slot, and what that was computed from.
CREATE TABLE ext_scheduler.timers (
  tenant_id text NOT NULL,
  schedule_id uuid NOT NULL,
  install_id uuid NOT NULL,
  cron text NOT NULL,
  timezone text NOT NULL,
  due_at timestamptz NOT NULL,
  missed integer NOT NULL DEFAULT 0,
  PRIMARY KEY (tenant_id, schedule_id)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.05);
CREATE INDEX timers_due ON ext_scheduler.timers (due_at);
CREATE INDEX timers_by_install ON ext_scheduler.timers (install_id);

-- Occurrences. Partitioned by slot, so that old ones leave by dropping a partition. No index names
-- a column that an attempt writes, so that claims and endings can be heap-only updates.
CREATE TABLE ext_scheduler.runs (
  tenant_id text NOT NULL,
  id uuid NOT NULL,
  install_id uuid NOT NULL,
  schedule_id uuid NOT NULL,
  slot timestamptz NOT NULL,
  kind text NOT NULL CHECK (kind IN ('scheduled', 'manual')),
  trigger text NOT NULL CHECK (trigger IN ('schedule', 'catchup', 'run_now')),
  status text NOT NULL DEFAULT 'queued'
    CHECK (status IN ('queued', 'running', 'success', 'error', 'skipped', 'skipped_overlap')),
  attempts integer NOT NULL DEFAULT 0,
  missed integer NOT NULL DEFAULT 0,
  next_slot timestamptz,
  lease_until timestamptz,
  retry_at timestamptz,
  fence bigint NOT NULL DEFAULT 0,
  worker text,
  queued_at timestamptz NOT NULL,
  started_at timestamptz,
  finished_at timestamptz,
  duration_ms integer,
  http_status integer,
  error text,
  PRIMARY KEY (tenant_id, id, slot),
  UNIQUE (tenant_id, schedule_id, slot, kind)
) PARTITION BY RANGE (slot);
CREATE INDEX runs_by_install ON ext_scheduler.runs (tenant_id, install_id, slot, id);
CREATE INDEX runs_by_age ON ext_scheduler.runs USING brin (queued_at)
  WITH (pages_per_range = 32, autosummarize = on);
CREATE TABLE ext_scheduler.runs_default PARTITION OF ext_scheduler.runs DEFAULT WITH (fillfactor = 50);

-- The one run of a schedule that is under way: running, or waiting for a retry. It holds its schedule
-- until it ends or its time is up, so that a holder that died blocks nobody for long.
CREATE TABLE ext_scheduler.active_runs (
  tenant_id text NOT NULL,
  schedule_id uuid NOT NULL,
  run_id uuid NOT NULL,
  slot timestamptz NOT NULL,
  fence bigint NOT NULL,
  held_since timestamptz NOT NULL,
  held_until timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, schedule_id)
) WITH (autovacuum_vacuum_scale_factor = 0.02);

-- The result of a change, kept for as long as a caller may ask again with the same jti.
-- scope: 'install:<uuid>' or 'admin:<subject>'. install_id: what an admin change was about, so that
-- its record goes with the install.
CREATE TABLE ext_scheduler.idempotency (
  tenant_id text NOT NULL,
  scope text NOT NULL,
  jti uuid NOT NULL,
  op text NOT NULL,
  body_sha256 text NOT NULL,
  result bytea NOT NULL,
  created_at timestamptz NOT NULL,
  install_id uuid,
  PRIMARY KEY (tenant_id, scope, jti)
);
CREATE INDEX idempotency_by_install ON ext_scheduler.idempotency (install_id)
  WHERE install_id IS NOT NULL;
CREATE INDEX idempotency_age ON ext_scheduler.idempotency (created_at);

-- When the last changes were accepted, newest last, no more of them than the limit.
-- scope: 'install:<uuid>' for host changes, 'manual' for manual runs of the tenant. Rows are kept for a
-- minute, so reading them all finds the old ones; no index on what a change writes and room in
-- the page let every change be a heap-only update.
CREATE TABLE ext_scheduler.rate_windows (
  tenant_id text NOT NULL,
  scope text NOT NULL,
  accepted timestamptz[] NOT NULL,
  updated_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, scope)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02);

-- The key is in the order of a tenant's pages, so that it needs no index of its own for them.
CREATE TABLE ext_scheduler.audit (
  tenant_id text NOT NULL,
  id uuid NOT NULL DEFAULT gen_random_uuid(),
  at timestamptz NOT NULL,
  install_id uuid,
  schedule_id uuid,
  op text NOT NULL,
  trigger text NOT NULL CHECK (trigger IN ('host_api', 'admin', 'service')),
  actor text NOT NULL,
  request_id text NOT NULL,
  changes jsonb NOT NULL DEFAULT '{}',
  PRIMARY KEY (tenant_id, at, id)
);
CREATE INDEX audit_by_install ON ext_scheduler.audit (install_id, at, id);
CREATE INDEX audit_age ON ext_scheduler.audit (at);

-- Events that were committed and not yet published.
CREATE TABLE ext_scheduler.outbox (
  tenant_id text NOT NULL,
  id uuid NOT NULL DEFAULT gen_random_uuid(),
  sequence bigint GENERATED ALWAYS AS IDENTITY,
  install_id uuid NOT NULL,
  schedule_id uuid,
  run_id uuid,
  type text NOT NULL,
  at timestamptz NOT NULL,
  data jsonb NOT NULL DEFAULT '{}',
  PRIMARY KEY (tenant_id, id)
);
CREATE INDEX outbox_order ON ext_scheduler.outbox (sequence);

CREATE TABLE ext_scheduler.tenant_pauses (
  tenant_id text PRIMARY KEY,
  paused_at timestamptz NOT NULL,
  paused_by text NOT NULL
);

-- Facts about the installation as a whole, such as the release of the time zone data in use.
CREATE TABLE ext_scheduler.facts (
  key text PRIMARY KEY,
  value text NOT NULL
);
