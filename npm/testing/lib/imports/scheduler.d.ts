import type { CreateScheduleInput, CreateScheduleResult, DeleteScheduleResult, EndpointInfo, ScheduleInfo, UpdateScheduleInput, UpdateScheduleResult } from "../world.js";
export declare const listSchedules: () => ScheduleInfo[];
export declare const getSchedule: (scheduleId: string) => ScheduleInfo | undefined;
export declare const createSchedule: (input: CreateScheduleInput) => CreateScheduleResult;
export declare const updateSchedule: (scheduleId: string, input: UpdateScheduleInput) => UpdateScheduleResult;
export declare const deleteSchedule: (scheduleId: string) => DeleteScheduleResult;
export declare const getEndpoints: () => EndpointInfo[];
