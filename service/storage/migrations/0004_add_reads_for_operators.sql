-- What operators read: pauses with a reason, runs across schedules, earlier attempts, live workers.

ALTER TABLE ext_scheduler.tenant_pauses ADD COLUMN reason text;

-- No column that an attempt writes: claims and results stay heap-only updates.
CREATE INDEX runs_by_tenant ON ext_scheduler.runs (tenant_id, slot, id);
CREATE INDEX runs_by_slot ON ext_scheduler.runs (slot, id);

-- Only a schedule that begins or ceases to fail writes to it.
CREATE INDEX IF NOT EXISTS tenant_extension_schedule_failing
  ON tenant_extension_schedule (tenant_id, id) WHERE last_run_status = 'error';

-- When a tenant or install was switched off and on: a few of all entries.
CREATE INDEX audit_switches ON ext_scheduler.audit (tenant_id, at, id)
  WHERE op IN ('setTenantPaused', 'setInstallEnabled');

-- The attempts of a run before its last one, whose result is in the run record itself: most runs
-- have no row here.
CREATE TABLE ext_scheduler.run_attempts (
  tenant_id text NOT NULL,
  run_id uuid NOT NULL,
  attempt integer NOT NULL,
  install_id uuid NOT NULL,
  slot timestamptz NOT NULL,
  worker text,
  started_at timestamptz,
  finished_at timestamptz,
  duration_ms integer,
  http_status integer,
  error text,
  PRIMARY KEY (tenant_id, run_id, attempt)
);
CREATE INDEX run_attempts_age ON ext_scheduler.run_attempts (slot);

-- Each worker writes its row every few seconds, so that it is seen whether one is up.
CREATE TABLE ext_scheduler.workers (
  name text PRIMARY KEY,
  started_at timestamptz NOT NULL,
  seen_at timestamptz NOT NULL,
  in_flight integer NOT NULL,
  capacity integer NOT NULL
);
