import type { Cron } from "./cron.js";
import { type Endpoint } from "./endpoints.js";
import { type Json } from "./json.js";
import { type Limits } from "./limits.js";
import type { CreateScheduleInput, CreateScheduleResult, DeleteScheduleResult, EndpointInfo, ScheduleInfo, UpdateScheduleInput, UpdateScheduleResult } from "./world.js";
import { type Zone } from "./zones.js";
/** A schedule with its timer, in Unix milliseconds; `dueAt` is undefined while it is disabled. */
export interface StoredSchedule {
    readonly id: string;
    readonly endpoint: Endpoint;
    readonly name: string | null;
    readonly cron: Cron;
    readonly timezone: string;
    readonly enabled: boolean;
    readonly payload: Json;
    readonly createdAt: number;
    readonly dueAt: number | undefined;
    readonly lastRunAt?: number;
    readonly lastRunStatus?: string;
    readonly lastError?: string | undefined;
}
/** The next slot after an instant, in Unix milliseconds. */
export declare const dueAfter: (schedule: StoredSchedule, now: number) => number;
/** The zone of a schedule, whose name was checked as a field. */
export declare const zoneOf: (schedule: StoredSchedule) => Zone;
/** The six functions, for an install whose version has these endpoints. */
export declare class InMemoryScheduler {
    #private;
    readonly schedules: Map<string, StoredSchedule>;
    constructor(endpoints: readonly Endpoint[], limits: Limits, clock: () => number);
    list(): ScheduleInfo[];
    /** Undefined for an unknown schedule, null for an id that is none. */
    get(id: string): ScheduleInfo | undefined | null;
    endpoints(): EndpointInfo[];
    create(input: CreateScheduleInput): CreateScheduleResult;
    update(id: string, input: UpdateScheduleInput): UpdateScheduleResult;
    delete(id: string): DeleteScheduleResult;
}
