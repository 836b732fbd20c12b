import { current } from "../current.js";
export const listSchedules = () => current().listSchedules();
export const getSchedule = (scheduleId) => current().getSchedule(scheduleId);
export const createSchedule = (input) => current().createSchedule(input);
export const updateSchedule = (scheduleId, input) => current().updateSchedule(scheduleId, input);
export const deleteSchedule = (scheduleId) => current().deleteSchedule(scheduleId);
export const getEndpoints = () => current().getEndpoints();
