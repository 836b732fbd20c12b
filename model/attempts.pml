/* Attempts: claim, lease, fence, call, write, takeover, overlap, pause, delete and removal.

   Each atomic block is one transaction of the code, or one step between two awaits. A line
   "impl:" names the function that takes the step and, after "|", the SQL that it runs there.
   docs/model.md says how to read this and what is left out. Sizes and faults are -D settings.

   left out: service.storage.runs.attempts.KEEP_ATTEMPTS (history that people read; nothing depends on it)
   left out: service.storage.runs.queue.CLAIM_JOB (CLAIM_JOBS for one job, where a batch is refused)
*/

#ifndef SCHEDULES
#define SCHEDULES 1     /* of two slots each */
#endif
#ifndef LIMIT
#define LIMIT 2         /* attempts of a run */
#endif
#ifndef KILLS
#define KILLS 1         /* kill -9, or an end with jobs handed back */
#endif
#ifndef FREEZES
#define FREEZES 1       /* each may outlast heartbeat and lease */
#endif
#ifndef OUTAGES
#define OUTAGES 1       /* lost transactions, and lost answers to COMMIT */
#endif
#ifndef CHANGES
#define CHANGES 1       /* of pause, resume, disable or delete, uninstall */
#endif

#define RUNS (2 * SCHEDULES)
#define SCHEDULE(r) ((r) / 2)
#define SIBLING(r) ((r) % 2 == 0 -> (r) + 1 : (r) - 1)
#define NOBODY 2        /* the owner of a job whose process is gone */
#define NONE 255

#define ABSENT 0        /* states of a run record */
#define QUEUED 1
#define RUNNING 2
#define ENDED 3
#define GONE 4          /* removed with its install, or a slot that was never to fire */

#define PICKED 2        /* states of a job: ABSENT, QUEUED, PICKED */

#define OK 0            /* results of an attempt */
#define FAILED 1
#define FINAL 2

/* Tables */
byte status[RUNS], attempts[RUNS], fence[RUNS];
bit leased[RUNS];                       /* lease_until lies ahead */
byte job[RUNS], job_owner[RUNS];
bit silent[RUNS];                       /* the job's heartbeat is too old */
bit delayed[RUNS];                      /* the job waits for the lease of its run to end */
byte holder[SCHEDULES], holder_fence[SCHEDULES];
bit held[SCHEDULES];                    /* held_until lies ahead */
bit turned_on[SCHEDULES];
bit paused;
byte clock;

/* What the faults did */
bit frozen[2], stood_still[2], killed[2];
byte kills = KILLS, freezes = FREEZES, outages = OUTAGES, changes = CHANGES;

/* What the properties look at; no transition of the code reads it */
byte claimer[RUNS];                     /* who claimed last */
byte busy[2];                           /* the run that a worker may be calling for */
byte accepted[RUNS];                    /* how many results were accepted */
bit owned[RUNS];                        /* the last claim owned the schedule's active run */

#define FIRES(s) (turned_on[s] && !paused)
#define OVERDUE(r) (clock >= (r) % 2 + 2)
#define OPEN(r) (status[r] == QUEUED || status[r] == RUNNING)
#define DONE(r) (status[r] == ENDED || status[r] == GONE)
#define CLAIMABLE(r) ((job[r] == QUEUED && !(delayed[r] && leased[r])) || (job[r] == PICKED && silent[r]))
#define DUE(r) (status[r] == ABSENT && clock > (r) % 2)
#if SCHEDULES == 1
#define ALL_DONE (DONE(0) && DONE(1))
#define ANY_DUE (DUE(0) || DUE(1))
#define ANY_CLAIMABLE (CLAIMABLE(0) || CLAIMABLE(1))
#else
#define ALL_DONE (DONE(0) && DONE(1) && DONE(2) && DONE(3))
#define ANY_DUE (DUE(0) || DUE(1) || DUE(2) || DUE(3))
#define ANY_CLAIMABLE (CLAIMABLE(0) || CLAIMABLE(1) || CLAIMABLE(2) || CLAIMABLE(3))
#endif

#ifdef M_NO_JOB_OWNER
#define JOB_IS_MINE(r) (job[r] != ABSENT)
#else
#define JOB_IS_MINE(r) (job[r] == PICKED && job_owner[r] == w)
#endif

inline release_active(r, upto) {
    if
    :: holder[SCHEDULE(r)] == r && holder_fence[SCHEDULE(r)] <= upto ->
        holder[SCHEDULE(r)] = NONE; holder_fence[SCHEDULE(r)] = 0; held[SCHEDULE(r)] = 0
    :: else
    fi
}

inline release_job(r, waits_for_lease) {
    if
    :: JOB_IS_MINE(r) -> job[r] = QUEUED; job_owner[r] = NOBODY; silent[r] = 0; delayed[r] = waits_for_lease
    :: else
    fi
}

inline forget() {
    r = NONE; mine = 0; lost = 0; owns = 0; fires = 0; blocked = 0; result = OK; tries = 0; waits = 0; direct = 0
}

proctype Worker(byte w) {
    byte r, mine, result, tries;        /* mine: the fence of this attempt */
    bit lost, owns, fires, blocked, waits;
    bit direct;                         /* claimed where it was planned */
start:
    {
    end: do
    ::  /* A worker with room claims what it plans, in one transaction. A timer is locked from its read on.
           impl: service.worker.planner.plan_due
           impl: service.worker.direct_claims.ClaimBatch.choose */
        atomic {
            !frozen[w] && ANY_DUE ->
            if
            :: DUE(0) -> r = 0
            :: DUE(1) -> r = 1
#if SCHEDULES > 1
            :: DUE(2) -> r = 2
            :: DUE(3) -> r = 3
#endif
            fi;
            if
            :: !FIRES(SCHEDULE(r)) -> status[r] = GONE; forget(); goto next
            :: else
            fi;
#ifdef M_PLAN_EARLY_LOOK
            fires = 1
#endif
        }
        /* impl: service.storage.runs.direct_claims.hold_schedules | service.storage.runs.direct_claims.HOLD_SCHEDULES
           impl: service.storage.runs.occurrences.plan | service.storage.runs.occurrences.INSERT_RUNS
           impl: service.storage.runs.queue.enqueue | service.storage.runs.queue.ENQUEUE
           impl: service.worker.direct_claims.ClaimBatch.load | service.storage.runs.invocations.LOAD
           impl: service.worker.direct_claims.DirectClaims.batch
           impl: service.worker.job_consumer.JobConsumer.start */
        atomic {
            !frozen[w] ->
            if
            :: status[r] != ABSENT -> forget(); goto next   /* planned by another, or removed */
            :: else
            fi;
            if
            :: outages > 0 -> outages--; forget(); goto next    /* rolled back */
            :: true
            fi;
            if
#ifndef M_PLAN_OVER_ACTIVE
            :: holder[SCHEDULE(r)] != NONE ->   /* it is in the way: what was planned waits in the queue */
                status[r] = QUEUED; job[r] = QUEUED; forget(); goto next
#endif
            :: else
            fi;
            holder[SCHEDULE(r)] = r; holder_fence[SCHEDULE(r)] = 1; held[SCHEDULE(r)] = 1; owns = 1;
            assert(!(owned[SIBLING(r)] && leased[SIBLING(r)] && status[SIBLING(r)] == RUNNING));
            status[r] = RUNNING; attempts[r] = 1; fence[r] = 1; leased[r] = 1; claimer[r] = w; owned[r] = 1;
            mine = 1; tries = 1; direct = 1;
            job[r] = PICKED; job_owner[r] = w; silent[r] = 0; delayed[r] = 0;
            blocked = !FIRES(SCHEDULE(r));
#ifndef M_PLAN_EARLY_LOOK
            fires = FIRES(SCHEDULE(r));
#endif
            stood_still[w] = 0; busy[w] = r;
            if
            ::  /* committed, but the answer is lost, and that the job is there is not found out in time
                   impl: service.worker.job_consumer.JobConsumer.start_if_owned */
                outages > 0 -> outages--; busy[w] = NONE; job_owner[r] = NOBODY; forget(); goto next
            :: true -> goto call
            fi
        }
    ::  /* impl: service.worker.job_consumer.JobConsumer._claim_batch
           impl: service.storage.runs.queue.claim | service.storage.runs.queue.CLAIM_JOBS */
        atomic {
            !frozen[w] && ANY_CLAIMABLE ->
            if
            :: CLAIMABLE(0) -> r = 0
            :: CLAIMABLE(1) -> r = 1
#if SCHEDULES > 1
            :: CLAIMABLE(2) -> r = 2
            :: CLAIMABLE(3) -> r = 3
#endif
            fi;
            job[r] = PICKED; job_owner[r] = w; silent[r] = 0; delayed[r] = 0
        }
        /* impl: service.worker.firing.run_executor.RunExecutor.execute
           impl: service.worker.firing.attempt_store.AttemptStore.claim
           impl: service.storage.runs.attempts.load | service.storage.runs.attempts.LOAD_RUNS
           impl: service.storage.runs.retry_bounds.current | service.storage.runs.retry_bounds.TIMERS, service.storage.runs.retry_bounds.FOLLOWERS
           impl: service.worker.firing.attempt_store.classify_run */
        atomic {
            !frozen[w] ->
#ifdef M_EARLY_LOOK
            fires = FIRES(SCHEDULE(r));
#endif
            if
            :: !OPEN(r) -> goto end_job
#ifndef M_NO_LEASE
            :: OPEN(r) && leased[r] -> waits = 1; goto release
#endif
            :: else ->
                mine = fence[r] + 1; tries = attempts[r];
#ifndef M_NO_LIMIT
                if
                :: tries > 0 && (OVERDUE(r) || tries >= LIMIT) -> lost = 1
                :: else
                fi
#endif
            fi
        }
        /* The rest of that transaction: other workers' commits may lie in between.
           impl: service.storage.runs.attempts.claim | service.storage.runs.attempts.ACQUIRE_ACTIVE_RUN, service.storage.runs.attempts.CLAIM_RUNS, service.storage.runs.attempts.RELEASE_ACTIVE_RUNS
           impl: service.storage.runs.invocations.load | service.storage.runs.invocations.LOAD */
        atomic {
            !frozen[w] ->
            if
            :: outages > 0 ->           /* rolled back by a restart: DATABASE_RETRY_DELAY */
                outages--; goto release
            :: true
            fi;
            if
            :: !lost && (holder[SCHEDULE(r)] == NONE || !held[SCHEDULE(r)]
                || (holder[SCHEDULE(r)] == r && holder_fence[SCHEDULE(r)] == mine - 1)) ->
                holder[SCHEDULE(r)] = r; holder_fence[SCHEDULE(r)] = mine; held[SCHEDULE(r)] = 1; owns = 1
            :: else
            fi;
#ifdef M_NO_OVERLAP_CHECK
            owns = !lost;
#endif
            if
#ifdef M_CLAIM_UNCHECKED
            :: OPEN(r) ->
#else
            :: OPEN(r) && fence[r] == mine - 1 ->
#endif
                assert(!(busy[0] == r && !frozen[0] && !stood_still[0] && w != 0));
                assert(!(busy[1] == r && !frozen[1] && !stood_still[1] && w != 1));
                assert(!owns || !(owned[SIBLING(r)] && leased[SIBLING(r)] && status[SIBLING(r)] == RUNNING));
                status[r] = RUNNING; fence[r] = fence[r] + 1; mine = fence[r]; leased[r] = 1; claimer[r] = w;
                owned[r] = owns;
                if :: !lost -> attempts[r]++; tries++ :: else fi;
                assert(attempts[r] <= LIMIT);
                blocked = !FIRES(SCHEDULE(r));
#ifndef M_EARLY_LOOK
                fires = FIRES(SCHEDULE(r));
#endif
                stood_still[w] = 0; busy[w] = r;
                if
                :: outages > 0 ->       /* committed, but the answer is lost */
                    outages--; busy[w] = NONE; goto release
                :: true
                fi
            :: else ->                  /* another worker was faster: CONTENTION_DELAY */
                if :: owns -> release_active(r, mine) :: else fi;
                goto release
            fi
        }
        /* impl: service.worker.firing.run_executor.RunExecutor._attempt
           impl: service.worker.firing.decision.decide
           impl: service.worker.firing.run_executor.RunExecutor._call
           impl: service.worker.runner_client.RunnerClient.call */
call:   atomic {
            !frozen[w] ->
            if
            :: lost -> result = FINAL; goto ended
#ifdef M_CALL_WHEN_PAUSED
            :: !lost && !owns -> result = FINAL; goto ended
#else
            :: !lost && (!fires || !owns) -> result = FINAL; goto ended
#endif
            :: else ->
                if
                :: stood_still[w] -> busy[w] = NONE; stood_still[w] = 0; waits = 1; goto release
                :: else
                fi
            fi;
            assert(!blocked);           /* no call after an acknowledged pause or delete */
            fires = 0; blocked = 0; owns = 0
        }
        /* The answer, or none: a message lost, late or refused is a failed attempt.
           impl: service.worker.runner_client.RunnerClient._request */
        atomic {
            !frozen[w] ->
            if
            :: result = OK
            :: result = FAILED
            :: result = FINAL
            fi;
ended:      busy[w] = NONE; stood_still[w] = 0; lost = 0; fires = 0; blocked = 0; owns = 0
        }
        /* impl: service.worker.firing.attempt_store.AttemptStore.write
           impl: service.worker.firing.attempt_store.AttemptStore._write
           impl: service.worker.firing.attempt_store.AttemptStore._update
           impl: service.worker.firing.attempt_store._written_before
           impl: service.storage.runs.results.lock_schedules | service.storage.runs.results.LOCK_SCHEDULES
           impl: service.storage.runs.updates.write_updates | service.storage.runs.attempts.RELEASE_ACTIVE_RUNS, service.storage.runs.updates.EXTEND_ACTIVE_RUNS, service.storage.runs.updates.WRITE_UPDATES
           impl: service.storage.runs.results.record | service.storage.runs.failure_series.LAST_RUN */
write:  atomic {
            !frozen[w] ->
            if
            :: outages > 0 -> outages--; goto release   /* given up: FAILED_JOB_DELAY */
            :: true
            fi;
            if
            :: result == FAILED && (tries >= LIMIT || OVERDUE(r)) -> result = FINAL
            :: result == FAILED && tries < LIMIT -> result = FINAL  /* it would come after the next slot */
            :: result != FAILED || (tries < LIMIT && !OVERDUE(r))
            fi;
            if
            :: result != FAILED -> release_active(r, mine)
            :: result == FAILED && holder[SCHEDULE(r)] == r && holder_fence[SCHEDULE(r)] == mine ->
                held[SCHEDULE(r)] = 1
            :: else
            fi;
            if
#ifdef M_NO_FENCE
            :: status[r] == RUNNING ->
#else
            :: status[r] == RUNNING && fence[r] == mine ->
#endif
                assert(claimer[r] == w && fence[r] == mine);    /* no stale write */
                leased[r] = 0; owned[r] = 0;
                if
                :: result == FAILED -> status[r] = QUEUED; waits = 0;
                :: else ->
                    status[r] = ENDED; accepted[r]++; assert(accepted[r] <= 1);
                    /* The job of a run that was claimed when it was planned ends in this transaction.
                       impl: service.storage.runs.queue.end_owned | service.storage.runs.queue.END_JOBS */
                    if
                    :: direct && JOB_IS_MINE(r) -> job[r] = ABSENT; job_owner[r] = NOBODY; silent[r] = 0; delayed[r] = 0
                    :: else
                    fi
                fi;
                if
                :: outages > 0 -> outages--; goto write         /* the answer to COMMIT is lost */
                :: result == FAILED -> goto release
                :: else -> goto end_job
                fi
#ifndef M_FORGOTTEN_RETRY
            :: status[r] == QUEUED && fence[r] == mine -> waits = 0; goto release   /* an earlier try wrote it */
#endif
            :: else -> goto end_job     /* "stale attempt discarded" */
            fi
        }
        /* impl: service.worker.job_consumer.JobConsumer._release
           impl: service.storage.runs.queue.release | service.storage.runs.queue.RELEASE_JOBS */
release: atomic {
            !frozen[w] ->
            if
            :: outages > 0 && JOB_IS_MINE(r) -> outages--; job_owner[r] = NOBODY     /* given up: no heartbeats are sent */
            :: true -> release_job(r, waits)
            fi;
            forget(); goto next
        }
        /* impl: service.worker.job_consumer.JobConsumer._end
           impl: service.storage.runs.queue.end | service.storage.runs.queue.END_JOBS */
end_job: atomic {
            !frozen[w] ->
            if
            :: outages > 0 && JOB_IS_MINE(r) -> outages--; job_owner[r] = NOBODY
            :: true ->
                if
                :: JOB_IS_MINE(r) -> job[r] = ABSENT; job_owner[r] = NOBODY; silent[r] = 0; delayed[r] = 0
                :: else
                fi
            fi;
            forget()
        }
next:   skip
    od
    } unless { killed[w] };
    atomic { killed[w] = 0; stood_still[w] = 0; forget(); goto start }
}

inline tell_dead(w, x) {
    if
    :: job[x] == PICKED && job_owner[x] == w ->
        if
        :: job_owner[x] = NOBODY
        ::  /* impl: service.worker.job_consumer.JobConsumer.abandon */
           job[x] = QUEUED; job_owner[x] = NOBODY; silent[x] = 0; delayed[x] = leased[x]
        fi
    :: else
    fi
}

inline remove(x) {
    status[x] = GONE; job[x] = ABSENT; job_owner[x] = NOBODY; silent[x] = 0; delayed[x] = 0; leased[x] = 0
}

/* Faults and changes: each may happen at any step, or never. */
active proctype World() {
    byte v, s;
    end: do
    :: atomic { kills > 0 && !frozen[0] && !frozen[1] -> kills--;
        if :: v = 0 :: v = 1 fi;
        killed[v] = 1; busy[v] = NONE;
        tell_dead(v, 0); tell_dead(v, 1);
#if SCHEDULES > 1
        tell_dead(v, 2); tell_dead(v, 3);
#endif
        v = 0 }
    :: atomic { freezes > 0 -> freezes--;
        if :: !frozen[0] -> v = 0 :: !frozen[1] -> v = 1 fi;
        frozen[v] = 1; stood_still[v] = (busy[v] != NONE); v = 0 }
    :: atomic { changes > 0 -> changes--;
        if :: s = 0
#if SCHEDULES > 1
           :: s = 1
#endif
        fi;
        if
        ::  /* impl: service.storage.platform.switches.set_paused | service.storage.platform.switches.PAUSE, service.storage.platform.switches.RESUME */
            paused = !paused
        ::  /* impl: service.storage.schedules.rows.delete | service.storage.schedules.rows.DELETE
               impl: service.storage.schedules.disabling.disable | service.storage.schedules.disabling.DISABLE */
            turned_on[s] = 0
        ::  /* impl: service.storage.removal.remove | service.storage.removal.SCHEDULES, service.storage.removal.ACTIVE_RUNS, service.storage.removal.RUNS, service.storage.removal.JOBS, service.storage.removal.LEFT_ACTIVE_RUNS */
            turned_on[s] = 0; remove(2 * s); remove(2 * s + 1);
            holder[s] = NONE; holder_fence[s] = 0; held[s] = 0
        fi;
        s = 0 }
    od
}

#define LEASE_CAN_END(r) (leased[r] && (frozen[claimer[r]] || busy[claimer[r]] != r))
#define HOLD_CAN_END(s) (held[s] && holder[s] != NONE && !leased[holder[s]])
#define HEARTBEAT_CAN_STOP(r) (job[r] == PICKED && !silent[r] && (job_owner[r] == NOBODY || frozen[job_owner[r]]))
#define ORPHAN(r) (OPEN(r) && job[r] == ABSENT && !leased[r])

/* impl: service.storage.runs.occurrences.plan | service.storage.runs.occurrences.INSERT_RUNS
   impl: service.storage.runs.queue.enqueue | service.storage.runs.queue.ENQUEUE */
inline plan(r) {
    if
    :: FIRES(SCHEDULE(r)) -> status[r] = QUEUED; job[r] = QUEUED
    :: else -> status[r] = GONE
    fi
}

/* Time passes, frozen processes wake, due slots are planned, orphans are repaired. */
active proctype Time() {
    end: do
    :: clock < 3 -> clock++
    :: atomic { DUE(0) -> plan(0) }
    :: atomic { DUE(1) -> plan(1) }
    :: atomic { LEASE_CAN_END(0) -> leased[0] = 0; owned[0] = 0 }
    :: atomic { LEASE_CAN_END(1) -> leased[1] = 0; owned[1] = 0 }
    :: atomic { HOLD_CAN_END(0) -> held[0] = 0 }
#ifndef M_NO_TAKEOVER
    :: atomic { HEARTBEAT_CAN_STOP(0) -> silent[0] = 1 }
    :: atomic { HEARTBEAT_CAN_STOP(1) -> silent[1] = 1 }
#endif
#ifndef M_NO_REPAIR
    /* impl: service.worker.maintenance.repair | service.storage.consistency.RUNS_WITHOUT_JOB */
    :: atomic { ORPHAN(0) -> job[0] = QUEUED }
    :: atomic { ORPHAN(1) -> job[1] = QUEUED }
#endif
#if SCHEDULES > 1
    :: atomic { DUE(2) -> plan(2) }
    :: atomic { DUE(3) -> plan(3) }
    :: atomic { LEASE_CAN_END(2) -> leased[2] = 0; owned[2] = 0 }
    :: atomic { LEASE_CAN_END(3) -> leased[3] = 0; owned[3] = 0 }
    :: atomic { HOLD_CAN_END(1) -> held[1] = 0 }
    :: atomic { HEARTBEAT_CAN_STOP(2) -> silent[2] = 1 }
    :: atomic { HEARTBEAT_CAN_STOP(3) -> silent[3] = 1 }
    :: atomic { ORPHAN(2) -> job[2] = QUEUED }
    :: atomic { ORPHAN(3) -> job[3] = QUEUED }
#endif
    od
}

/* impl: service.worker.job_consumer.JobConsumer._send_heartbeats
   impl: service.storage.runs.queue.heartbeat | service.storage.runs.queue.HEARTBEAT */
inline wake(w) {
    frozen[w] = 0;
    if :: job[0] == PICKED && job_owner[0] == w -> silent[0] = 0 :: else fi;
    if :: job[1] == PICKED && job_owner[1] == w -> silent[1] = 0 :: else fi;
#if SCHEDULES > 1
    if :: job[2] == PICKED && job_owner[2] == w -> silent[2] = 0 :: else fi;
    if :: job[3] == PICKED && job_owner[3] == w -> silent[3] = 0 :: else fi
#endif
}

active proctype Thaw() {
    end: do
    :: atomic { frozen[0] -> wake(0) }
    :: atomic { frozen[1] -> wake(1) }
    od
}

init {
    atomic {
        byte i;
        for (i : 0 .. RUNS - 1) { job_owner[i] = NOBODY; claimer[i] = 0 }
        for (i : 0 .. SCHEDULES - 1) { holder[i] = NONE; turned_on[i] = 1 }
        busy[0] = NONE; busy[1] = NONE; i = 0;
        run Worker(0); run Worker(1)
    }
}

ltl every_slot_ends { <> ALL_DONE }
