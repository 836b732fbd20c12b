-- Indexes that each occurrence pays for and that no statement needs: pgqueuer's manager would use three
-- of them, which does not run here. A tenant's timers, which are few, are found by their primary key.

DROP INDEX IF EXISTS ext_scheduler.pgqueuer_updated_id_id1_idx;
DROP INDEX IF EXISTS ext_scheduler.pgqueuer_priority_id_id1_idx;
DROP INDEX IF EXISTS ext_scheduler.pgqueuer_queue_manager_id_idx;
DROP INDEX IF EXISTS ext_scheduler.timers_by_install;
