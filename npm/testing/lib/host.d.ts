import type { InMemoryScheduler } from "./scheduler.js";
import { type MemoryStorage } from "./storage.js";
import type { ContextData, CreateScheduleInput, CreateScheduleResult, DeleteScheduleResult, EndpointInfo, ScheduleInfo, UpdateScheduleInput, UpdateScheduleResult } from "./world.js";
export type LogLevel = "info" | "warn" | "error";
/** The capabilities of an install: those that are granted and declared, and the defaults. */
export declare function effectiveCapabilities(granted: readonly string[], declared: readonly string[]): Set<string>;
/** The host functions of one install. A wrong type throws, where a component would trap. */
export declare class HostFunctions {
    #private;
    readonly logged: (readonly [level: LogLevel, message: string])[];
    constructor(capabilities: ReadonlySet<string>, scheduler: InMemoryScheduler, storage: MemoryStorage, context: () => ContextData);
    getContext(): ContextData;
    log(level: LogLevel, message: string): void;
    storage(): MemoryStorage;
    listSchedules(): ScheduleInfo[];
    getSchedule(scheduleId: string): ScheduleInfo | undefined;
    getEndpoints(): EndpointInfo[];
    createSchedule(input: CreateScheduleInput): CreateScheduleResult;
    updateSchedule(scheduleId: string, input: UpdateScheduleInput): UpdateScheduleResult;
    deleteSchedule(scheduleId: string): DeleteScheduleResult;
}
