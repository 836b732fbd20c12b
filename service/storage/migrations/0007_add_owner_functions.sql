-- What only the owner of the tables may do, for a service that connects as a role with fewer rights:
-- `migrate --grants ROLE`. The caller is not trusted: each function judges its arguments itself, by the
-- server's clock. One day is the shortest retention that a setting allows.

CREATE FUNCTION ext_scheduler.create_run_partition(week date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF week IS NULL OR NOT isfinite(week) OR extract(isodow FROM week) <> 1 THEN
    RAISE EXCEPTION 'a week of runs begins on a Monday, not on %', week
      USING ERRCODE = 'invalid_parameter_value';
  END IF;
  -- Twenty years of weeks: no caller may fill the catalog.
  IF (SELECT count(*) FROM pg_inherits WHERE inhparent = 'ext_scheduler.runs'::regclass) > 1000 THEN
    RAISE EXCEPTION 'ext_scheduler.runs has too many partitions'
      USING ERRCODE = 'program_limit_exceeded';
  END IF;
  EXECUTE format(
    'CREATE TABLE ext_scheduler.%I PARTITION OF ext_scheduler.runs FOR VALUES FROM (%L) TO (%L)'
    ' WITH (fillfactor = 50)',
    to_char(week, '"runs_"YYYYMMDD'),
    to_char(week, 'YYYY-MM-DD 00:00:00+00'),
    to_char(week + 7, 'YYYY-MM-DD 00:00:00+00'));
END $$;

CREATE FUNCTION ext_scheduler.drop_run_partition(week date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  name text := to_char(week, '"runs_"YYYYMMDD');
BEGIN
  IF week IS NULL OR NOT isfinite(week)
    OR (week + 7)::timestamp AT TIME ZONE 'UTC' > now() - interval '1 day'
  THEN
    RAISE EXCEPTION 'the week of % is not over for a day', week
      USING ERRCODE = 'invalid_parameter_value';
  END IF;
  IF NOT EXISTS (
    SELECT FROM pg_inherits h JOIN pg_class c ON c.oid = h.inhrelid
    WHERE h.inhparent = 'ext_scheduler.runs'::regclass AND c.relname = name
      AND c.relnamespace = 'ext_scheduler'::regnamespace)
  THEN
    RAISE EXCEPTION 'ext_scheduler.runs has no partition %', name USING ERRCODE = 'undefined_table';
  END IF;
  EXECUTE format('DROP TABLE ext_scheduler.%I', name);
END $$;

CREATE FUNCTION ext_scheduler.delete_expired_audit(before timestamptz, most integer)
RETURNS SETOF uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF before IS NULL OR before > now() - interval '1 day' THEN
    RAISE EXCEPTION 'audit entries are kept for a day at least'
      USING ERRCODE = 'invalid_parameter_value';
  END IF;
  RETURN QUERY
    DELETE FROM ext_scheduler.audit t USING (
      SELECT o.tenant_id, o.at, o.id FROM ext_scheduler.audit o
      WHERE o.at < before ORDER BY o.at LIMIT most) o
    WHERE t.tenant_id = o.tenant_id AND t.at = o.at AND t.id = o.id
    RETURNING t.id;
END $$;

REVOKE ALL ON FUNCTION ext_scheduler.create_run_partition(date) FROM PUBLIC;
REVOKE ALL ON FUNCTION ext_scheduler.drop_run_partition(date) FROM PUBLIC;
REVOKE ALL ON FUNCTION ext_scheduler.delete_expired_audit(timestamptz, integer) FROM PUBLIC;
