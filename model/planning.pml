/* Planning: timers, planners, the unique key, changes of schedules, pause, repair, a moving clock.

   left out: service.storage.schedules.timers.REMOVAL (a part of REMOVE and of rows.DELETE)

   Read it as attempts.pml. Two schedules are independent here but for a planner's batch, which takes
   both; SCHEDULES=2 has it. A slot is a minute of the database's clock; slots 1 and 2 are looked at. */

#ifndef SCHEDULES
#define SCHEDULES 2
#endif
#ifndef CRASHES
#define CRASHES 2       /* planner killed, or its transaction rolled back by a restart */
#endif
#ifndef CHANGES
#define CHANGES 2
#endif
#ifndef STEPS_BACK
#define STEPS_BACK 1    /* of the database's clock, by one slot */
#endif

#define SLOTS 2
#define LAST 3          /* the clock's end, when both slots have gone by */
#define NEVER 4         /* a slot after the clock's end */
#define NOBODY 9

/* Tables: a timer is absent where due is 0; made_from is the revision of the expression it copies. */
byte due[SCHEDULES], made_from[SCHEDULES];
byte locked_by[SCHEDULES];
byte revision[SCHEDULES];
bit turned_on[SCHEDULES];
bit paused;
byte clock;
byte crashes = CRASHES, changes = CHANGES, steps_back = STEPS_BACK;

/* What the properties look at: run records of a slot, missed ones, those that no run was owed for */
byte occurrences[SCHEDULES * SLOTS];
byte jobs[SCHEDULES * SLOTS];
bit excused[SCHEDULES * SLOTS];
bit counted[SCHEDULES * SLOTS];

#define AT(s, slot) ((s) * SLOTS + (slot) - 1)
#define ACCOUNTED(s, slot) (occurrences[AT(s, slot)] > 0 || excused[AT(s, slot)] || counted[AT(s, slot)])
#define FOLLOWING(now) ((now) + 1)
#if SCHEDULES == 1
#define ALL_ACCOUNTED (ACCOUNTED(0, 1) && ACCOUNTED(0, 2))
#define ANY_DUE(now) (due[0] > 0 && due[0] <= now && locked_by[0] == NOBODY)
#else
#define ALL_ACCOUNTED (ACCOUNTED(0, 1) && ACCOUNTED(0, 2) && ACCOUNTED(1, 1) && ACCOUNTED(1, 2))
#define ANY_DUE(now) ((due[0] > 0 && due[0] <= now && locked_by[0] == NOBODY) || (due[1] > 0 && due[1] <= now && locked_by[1] == NOBODY))
#endif

/* No run is owed for the slots from first to last: paused, disabled, gone, or changed since. */
inline excuse(s, first, last) {
    if :: first <= 1 && last >= 1 -> excused[AT(s, 1)] = 1 :: else fi;
    if :: first <= 2 && last >= 2 -> excused[AT(s, 2)] = 1 :: else fi
}

/* impl: service.storage.runs.occurrences.plan | service.storage.runs.occurrences.INSERT_RUNS
   impl: service.storage.runs.queue.enqueue */
inline insert_run(s, slot) {
    if
#ifdef M_NO_UNIQUE_KEY
    :: slot <= SLOTS ->
#else
    :: slot <= SLOTS && occurrences[AT(s, slot)] == 0 ->
#endif
        occurrences[AT(s, slot)]++; jobs[AT(s, slot)]++;
        assert(occurrences[AT(s, slot)] <= 1)
    :: else
    fi;
    assert(slot > SLOTS || jobs[AT(s, slot)] == occurrences[AT(s, slot)])
}

/* One timer of a batch, at its planner's own now.
   impl: service.worker.timer_plan.plan_timer
   impl: service.rules.planning.evaluate_due
   impl: service.storage.schedules.timers.advance | service.storage.schedules.timers.ADVANCE
   impl: service.storage.schedules.timers.move | service.storage.schedules.timers.MOVE
   impl: service.storage.schedules.timers.remove | service.storage.schedules.timers.REMOVE */
inline plan_timer(s) {
    if
    :: locked_by[s] != me -> skip
    :: locked_by[s] == me && !on[s] -> excuse(s, due[s], LAST); due[s] = 0
    :: locked_by[s] == me && on[s] && (seen[s] != made_from[s] || !fires) ->
        excuse(s, due[s], now); due[s] = FOLLOWING(now); made_from[s] = seen[s]
    :: locked_by[s] == me && on[s] && seen[s] == made_from[s] && fires ->
        if
        :: due[s] < now ->              /* several slots went by: the latest is caught up, the others counted */
            if :: due[s] <= 1 && now > 1 -> counted[AT(s, 1)] = 1 :: else fi;
            if :: due[s] <= 2 && now > 2 -> counted[AT(s, 2)] = 1 :: else fi
        :: else
        fi;
#ifndef M_ADVANCE_FIRST
        if
        :: insert_run(s, now)
        :: now <= SLOTS -> counted[AT(s, now)] = 1     /* older than the catch-up window */
        fi;
#endif
        due[s] = FOLLOWING(now)
    fi
}

active [2] proctype Planner() {
    byte me, now;
    byte seen[SCHEDULES];
    bit on[SCHEDULES], fires;
    me = _pid;
    end: do
    ::  /* impl: service.worker.planner.Planner.plan_once
           impl: service.storage.schedules.timers.next_due | service.storage.schedules.timers.NEXT_DUE */
        atomic { ANY_DUE(clock) -> now = clock };
        /* impl: service.worker.planner.plan_due
           impl: service.storage.schedules.timers.take_due | service.storage.schedules.timers.TAKE_DUE */
        atomic {
            if :: due[0] > 0 && due[0] <= now && locked_by[0] == NOBODY -> locked_by[0] = me :: else fi;
#if SCHEDULES > 1
            if :: due[1] > 0 && due[1] <= now && locked_by[1] == NOBODY -> locked_by[1] = me :: else fi
#endif
        };
        if
        :: atomic { crashes > 0 -> crashes-- }; goto rollback
        :: true
        fi;
        /* impl: service.storage.schedules.firing_state.read | service.storage.schedules.firing_state.SCHEDULES, service.storage.schedules.firing_state.ENABLED_INSTALLS, service.storage.schedules.firing_state.PAUSED_TENANTS */
        atomic {
            fires = !paused; on[0] = turned_on[0]; seen[0] = revision[0];
#if SCHEDULES > 1
            on[1] = turned_on[1]; seen[1] = revision[1]
#endif
        };
        if
        :: atomic { crashes > 0 -> crashes-- }; goto rollback
        :: true
        fi;
        atomic {                        /* the writes and COMMIT */
            plan_timer(0);
#if SCHEDULES > 1
            plan_timer(1);
#endif
rollback:   if :: locked_by[0] == me -> locked_by[0] = NOBODY :: else fi;
#if SCHEDULES > 1
            if :: locked_by[1] == me -> locked_by[1] = NOBODY :: else fi;
            on[1] = 0; seen[1] = 0;
#endif
            on[0] = 0; seen[0] = 0; fires = 0; now = 0
        }
    od
}

/* A change reads the clock under its install's lock, then waits for the timer's. */
active proctype Owner() {
    byte s, now;
    end: do
    :: atomic { changes > 0 -> changes--; now = clock;
        if
        :: s = 0
#if SCHEDULES > 1
        :: s = 1
#endif
        fi };
        if
        ::  /* another expression of the same slots, or turned on again: from now
               impl: service.operations.schedule_changes.update_schedule
               impl: service.storage.schedules.rows.update | service.storage.schedules.rows.UPDATE
               impl: service.storage.schedules.rows.set_timer | service.storage.schedules.rows.SET_TIMER */
            atomic {
                locked_by[s] == NOBODY ->
                if :: due[s] > 0 -> excuse(s, due[s], now) :: else -> excuse(s, 1, now) fi;
                revision[s]++; turned_on[s] = 1; due[s] = FOLLOWING(now); made_from[s] = revision[s]
            }
        ::  /* impl: service.operations.schedule_changes.delete_schedule
               impl: service.storage.schedules.rows.delete | service.storage.schedules.rows.DELETE
               impl: service.storage.schedules.disabling.disable | service.storage.schedules.disabling.DISABLE */
            atomic { locked_by[s] == NOBODY -> turned_on[s] = 0; due[s] = 0; excuse(s, 1, LAST) }
        ::  /* impl: service.storage.platform.switches.set_paused | service.storage.platform.switches.PAUSE */
            atomic { !paused -> paused = 1 }
        ::  /* impl: service.storage.platform.switches.set_paused | service.storage.platform.switches.RESUME
               impl: service.storage.schedules.timers.overdue | service.storage.schedules.timers.OVERDUE */
            atomic { paused && locked_by[0] == NOBODY && locked_by[SCHEDULES - 1] == NOBODY ->
                paused = 0;
                if :: due[0] > 0 && due[0] <= now -> excuse(0, due[0], now); due[0] = FOLLOWING(now) :: else fi;
#if SCHEDULES > 1
                if :: due[1] > 0 && due[1] <= now -> excuse(1, due[1], now); due[1] = FOLLOWING(now) :: else fi
#endif
            }
        ::  /* the platform turns a row on or off by itself, without its timer */
            atomic { turned_on[s] = !turned_on[s]; excuse(s, 1, LAST) }
        :: skip
        fi;
        s = 0; now = 0
    od
}

active proctype Maintenance() {
    byte s, now;
    end: do
    :: atomic {
        if
        :: turned_on[0] && due[0] == 0 -> s = 0
#if SCHEDULES > 1
        :: turned_on[1] && due[1] == 0 -> s = 1
#endif
        fi;
        now = clock };
        /* impl: service.worker.maintenance.repair
           impl: service.storage.consistency.schedules_without_timer | service.storage.consistency.SCHEDULES_WITHOUT_TIMER
           impl: service.storage.schedules.timers.add | service.storage.schedules.timers.ADD */
        atomic {
            if
            :: due[s] == 0 -> excuse(s, 1, now); due[s] = FOLLOWING(now); made_from[s] = revision[s]
            :: else
            fi;
            s = 0; now = 0
        }
    ::  /* impl: service.storage.consistency.remove_timers | service.storage.schedules.timers.LOCK, service.storage.schedules.timers.REMOVE */
        atomic { !turned_on[0] && due[0] > 0 && locked_by[0] == NOBODY -> due[0] = 0 }
#if SCHEDULES > 1
    :: atomic { !turned_on[1] && due[1] > 0 && locked_by[1] == NOBODY -> due[1] = 0 }
#endif
    od
}

active proctype Clock() {
    end: do
    :: clock < LAST -> clock++
    :: atomic { steps_back > 0 && clock > 0 && clock < LAST -> steps_back--; clock-- }
    od
}

init {
    atomic {
        byte i;
        for (i : 0 .. SCHEDULES - 1) { due[i] = 1; turned_on[i] = 1; locked_by[i] = NOBODY }
        i = 0
    }
}

ltl every_slot_is_accounted_for { <> ALL_ACCOUNTED }
