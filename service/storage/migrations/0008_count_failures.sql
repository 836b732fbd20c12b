-- How often a schedule has failed in a row, by its runs in the order of slots. failing_since is set from
-- the run that made it failing until one succeeds; failing_run is the run that changed it last.
-- disabled_after: the failures in a row after which the service disabled it.
ALTER TABLE tenant_extension_schedule ADD COLUMN IF NOT EXISTS failures integer;
ALTER TABLE tenant_extension_schedule ADD COLUMN IF NOT EXISTS failing_since timestamptz;
ALTER TABLE tenant_extension_schedule ADD COLUMN IF NOT EXISTS failing_run uuid;
ALTER TABLE tenant_extension_schedule ADD COLUMN IF NOT EXISTS disabled_after integer;
