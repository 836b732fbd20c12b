-- A worker that plans enqueues most jobs as its own: nobody is to be woken for them, and its commits
-- need not wait for each other, as those that notify do.
CREATE OR REPLACE TRIGGER tg_pgqueuer_changed
AFTER INSERT ON ext_scheduler.pgqueuer
FOR EACH ROW WHEN (NEW.status = 'queued')
EXECUTE FUNCTION ext_scheduler.fn_pgqueuer_changed();
