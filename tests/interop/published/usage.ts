// What authors write against the declarations, and what the declarations must not let them write.
/// <reference path="./ext-scheduler.d.ts" />
import { createSchedule, getSchedule, listSchedules, updateSchedule } from "alga:extension/scheduler";
import type {
  AdminOperations, CreateInput, Event, ExecuteRequest, HostOperations, Numbers, ScheduleInfo,
} from "ext-scheduler";

export function setUp(): string[] {
  const made = createSchedule({ endpoint: "POST /api/heartbeat", cron: "0 * * * *" });
  if (!made.success) throw new Error(made.error);
  updateSchedule(made.scheduleId ?? "", { payload: "" });
  // @ts-expect-error a schedule may be absent
  getSchedule("id").cron;
  // @ts-expect-error cron is required
  createSchedule({ endpoint: "/api" });
  // @ts-expect-error a payload is JSON text here
  createSchedule({ endpoint: "/api", cron: "0 * * * *", payload: {} });
  return listSchedules().map((schedule) => schedule.endpointPath);
}

type Answer<O extends { output: unknown; refusal: unknown; error: unknown }> =
  O["output"] | O["refusal"] | O["error"];

export function told(answer: Answer<HostOperations["create"]>): string {
  return answer.success ? "made" : (answer.error ?? "");
}

export function wait(error: HostOperations["update"]["error"]): number {
  const number: Numbers["RATE_LIMITED"] = 429;
  return error.code === "RATE_LIMITED" ? (error.retryAfterMs ?? number) : 0;
}

export const input: CreateInput = { endpoint: "/a", cron: "0 * * * *", payload: [1], name: null };
export const next = (schedule: ScheduleInfo): string | null => schedule.nextRunAt;
export const run = (request: ExecuteRequest): string => request.http.method;
export const heard = (event: Event): boolean => event.type === "run.failed";
export const runs = (page: AdminOperations["runHistory"]["output"]) => page.runs[0]?.status;

// @ts-expect-error not a code of a list
const wrong: HostOperations["list"]["error"]["code"] = "RATE_LIMITED";
// @ts-expect-error not an event
export const never = (event: Event): boolean => event.type === "run.started";
// @ts-expect-error a list has no negative result
export const none: HostOperations["list"]["refusal"] = { success: false, code: wrong, error: "" };
