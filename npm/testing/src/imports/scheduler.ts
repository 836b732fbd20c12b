import { current } from "../current.js";
import type {
  CreateScheduleInput,
  CreateScheduleResult,
  DeleteScheduleResult,
  EndpointInfo,
  ScheduleInfo,
  UpdateScheduleInput,
  UpdateScheduleResult,
} from "../world.js";

export const listSchedules = (): ScheduleInfo[] => current().listSchedules();
export const getSchedule = (scheduleId: string): ScheduleInfo | undefined => current().getSchedule(scheduleId);
export const createSchedule = (input: CreateScheduleInput): CreateScheduleResult =>
  current().createSchedule(input);
export const updateSchedule = (scheduleId: string, input: UpdateScheduleInput): UpdateScheduleResult =>
  current().updateSchedule(scheduleId, input);
export const deleteSchedule = (scheduleId: string): DeleteScheduleResult => current().deleteSchedule(scheduleId);
export const getEndpoints = (): EndpointInfo[] => current().getEndpoints();
