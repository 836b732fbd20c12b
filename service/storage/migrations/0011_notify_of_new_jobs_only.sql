-- Workers listen for new jobs alone. A commit that notifies waits for all others that do, its flush to
-- disk included, and wakes every worker: ends, heartbeats and releases of jobs are not worth either.
CREATE OR REPLACE TRIGGER tg_pgqueuer_changed
AFTER INSERT ON ext_scheduler.pgqueuer
EXECUTE FUNCTION ext_scheduler.fn_pgqueuer_changed();
