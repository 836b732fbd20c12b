// The scheduler of one install in memory: fields, then whether the schedule exists, then rate and quota.
import { randomUUID } from "node:crypto";

import {
  BAD_PAYLOAD,
  CREATE_FIELDS,
  MAX_BODY_BYTES,
  NAME_TAKEN,
  NOT_FOUND,
  NOT_SCHEDULABLE,
  REQUEST_TOO_LARGE,
  UPDATE_FIELDS,
} from "./constants.js";
import type { Cron } from "./cron.js";
import { chooseEndpoint, type Endpoint, type Selector } from "./endpoints.js";
import { checkCreate, checkScheduleId, checkUpdate, orderErrors, type FieldErrors } from "./fields.js";
import { parse, write, type Json } from "./json.js";
import { appendWindow, checkRate, tooManyChanges, tooManySchedules, type Limits } from "./limits.js";
import { requestSize } from "./request_size.js";
import { nextSlot } from "./slots.js";
import type {
  CreateScheduleInput,
  CreateScheduleResult,
  DeleteScheduleResult,
  EndpointInfo,
  ScheduleInfo,
  UpdateScheduleInput,
  UpdateScheduleResult,
} from "./world.js";
import { loadZone, type Zone } from "./zones.js";

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
export const dueAfter = (schedule: StoredSchedule, now: number): number =>
  nextSlot(schedule.cron, zoneOf(schedule), now);

/** The zone of a schedule, whose name was checked as a field. */
export const zoneOf = (schedule: StoredSchedule): Zone => loadZone(schedule.timezone)!;

class NotJson extends Error {}

/** The six functions, for an install whose version has these endpoints. */
export class InMemoryScheduler {
  readonly schedules = new Map<string, StoredSchedule>();
  readonly #endpoints: readonly Endpoint[];
  readonly #ids: readonly string[];
  readonly #limits: Limits;
  readonly #clock: () => number;
  #changes: number[] = [];

  constructor(endpoints: readonly Endpoint[], limits: Limits, clock: () => number) {
    this.#endpoints = endpoints;
    this.#ids = endpoints.map(() => randomUUID());
    this.#limits = limits;
    this.#clock = clock;
  }

  list(): ScheduleInfo[] {
    return [...this.schedules.values()].map(infoOf);
  }

  /** Undefined for an unknown schedule, null for an id that is none. */
  get(id: string): ScheduleInfo | undefined | null {
    const [checked, errors] = checkScheduleId(id, this.#limits);
    if (Object.keys(errors).length > 0) return null;
    const found = this.schedules.get(checked.scheduleId!);
    return found === undefined ? undefined : infoOf(found);
  }

  endpoints(): EndpointInfo[] {
    return this.#endpoints.map((endpoint, index) => ({ id: this.#ids[index]!, ...endpoint }));
  }

  create(input: CreateScheduleInput): CreateScheduleResult {
    return this.#judged(() => this.#create(input));
  }

  update(id: string, input: UpdateScheduleInput): UpdateScheduleResult {
    return this.#judged(() => this.#update(id, input));
  }

  delete(id: string): DeleteScheduleResult {
    const [checked, errors] = checkScheduleId(id, this.#limits);
    if (errors.scheduleId !== undefined) return { success: false, error: errors.scheduleId };
    if (!this.schedules.has(checked.scheduleId!)) return { success: false, error: NOT_FOUND };
    const refusal = this.#rateRefusal();
    if (refusal !== undefined) return { success: false, error: refusal };
    this.schedules.delete(checked.scheduleId!);
    this.#countChange();
    return { success: true };
  }

  #judged<Result extends UpdateScheduleResult>(change: () => Result): Result | UpdateScheduleResult {
    try {
      return change();
    } catch (error) {
      if (!(error instanceof NotJson)) throw error;
      return negative({ payload: BAD_PAYLOAD });
    }
  }

  #create(input: CreateScheduleInput): CreateScheduleResult {
    const now = this.#clock();
    const payload = readPayload(input.payload);
    // A create leaves out what is null.
    if (isTooLarge({ ...pick(input), payload: payload ?? undefined })) return tooLarge();
    const [checked, errors] = checkCreate({ ...pick(input), payload }, this.#limits);
    const endpoint = this.#resolve(checked.endpoint, errors, (checked.payload ?? null) !== null);
    if (checked.name && this.#holder(checked.name) !== undefined) errors.name = NAME_TAKEN;
    const { cron } = checked;
    if (Object.keys(errors).length > 0 || endpoint === undefined || cron === undefined) {
      return negative(orderErrors(CREATE_FIELDS, errors));
    }
    const refusal = this.#rateRefusal();
    if (refusal !== undefined) return { success: false, error: refusal };
    const { maxSchedules } = this.#limits;
    if (this.schedules.size >= maxSchedules) return { success: false, error: tooManySchedules(maxSchedules) };
    const created: StoredSchedule = {
      id: randomUUID(),
      endpoint,
      name: checked.name ?? null,
      cron,
      timezone: checked.timezone ?? "UTC",
      enabled: checked.enabled ?? true,
      payload: checked.payload ?? null,
      createdAt: now,
      dueAt: undefined,
    };
    this.#write({ ...created, dueAt: created.enabled ? dueAfter(created, now) : undefined });
    return { success: true, scheduleId: created.id };
  }

  #update(id: string, input: UpdateScheduleInput): UpdateScheduleResult {
    const now = this.#clock();
    const payload = readPayload(input.payload);
    if (isTooLarge({ scheduleId: id, ...pick(input), payload })) return tooLarge();
    const [checked, errors] = checkUpdate({ scheduleId: id, ...pick(input), payload }, this.#limits);
    const stored = checked.scheduleId === undefined ? undefined : this.schedules.get(checked.scheduleId);
    const kept = checked.payload === undefined ? (stored?.payload ?? null) : checked.payload;
    const endpoint = this.#resolve(checked.endpoint, errors, kept !== null);
    if (checked.name) {
      const holder = this.#holder(checked.name);
      if (holder !== undefined && holder !== checked.scheduleId) errors.name = NAME_TAKEN;
    }
    if (Object.keys(errors).length > 0) return negative(orderErrors(UPDATE_FIELDS, errors));
    if (stored === undefined) return { success: false, error: NOT_FOUND };
    const refusal = this.#rateRefusal();
    if (refusal !== undefined) return { success: false, error: refusal };
    const merged: StoredSchedule = {
      ...stored,
      endpoint: endpoint ?? stored.endpoint,
      name: checked.name === undefined ? stored.name : checked.name,
      cron: checked.cron ?? stored.cron,
      timezone: checked.timezone ?? stored.timezone,
      enabled: checked.enabled ?? stored.enabled,
      payload: kept,
    };
    const isTimed = merged.cron.text !== stored.cron.text
      || merged.timezone !== stored.timezone
      || merged.enabled !== stored.enabled;
    const dueAt = merged.enabled ? (isTimed ? dueAfter(merged, now) : stored.dueAt) : undefined;
    this.#write({ ...merged, dueAt });
    return { success: true };
  }

  #resolve(selector: Selector | undefined, errors: FieldErrors, hasPayload: boolean): Endpoint | undefined {
    if (selector === undefined) return undefined;
    const chosen = chooseEndpoint(selector, this.#endpoints, hasPayload);
    if (chosen === undefined) errors.endpoint = NOT_SCHEDULABLE;
    return chosen;
  }

  #holder(name: string): string | undefined {
    return [...this.schedules.values()].find((schedule) => schedule.name === name)?.id;
  }

  #rateRefusal(): string | undefined {
    const [now, limit] = [this.#clock(), this.#limits.changesPerMinute];
    const wait = checkRate(this.#changes, now, limit);
    return wait === undefined ? undefined : tooManyChanges(limit, now, wait);
  }

  #write(schedule: StoredSchedule): void {
    this.schedules.set(schedule.id, schedule);
    this.#countChange();
  }

  #countChange(): void {
    this.#changes = appendWindow(this.#changes, this.#clock(), this.#limits.changesPerMinute);
  }
}

const isTooLarge = (request: Readonly<Record<string, Json | undefined>>): boolean =>
  requestSize(request) > MAX_BODY_BYTES;

const tooLarge = (): UpdateScheduleResult => ({ success: false, error: REQUEST_TOO_LARGE });

const pick = ({ endpoint, cron, timezone, enabled, name }: UpdateScheduleInput): UpdateScheduleInput =>
  ({ endpoint, cron, timezone, enabled, name });

/** A payload text as a value; undefined where there is none. */
function readPayload(text: string | undefined): Json | undefined {
  if (text === undefined) return undefined;
  try {
    return parse(text);
  } catch {
    throw new NotJson();
  }
}

function negative(errors: FieldErrors): UpdateScheduleResult {
  const [first] = Object.values(errors);
  return { success: false, error: first!, fieldErrors: JSON.stringify(errors) };
}

function infoOf(schedule: StoredSchedule): ScheduleInfo {
  const given = <Value>(name: string, value: Value | null | undefined): Record<string, Value> =>
    value === null || value === undefined ? {} : { [name]: value };
  const at = (instant: number | undefined): string | undefined =>
    instant === undefined ? undefined : new Date(instant).toISOString();
  return {
    id: schedule.id,
    endpointPath: schedule.endpoint.path,
    endpointMethod: schedule.endpoint.method,
    cron: schedule.cron.text,
    timezone: schedule.timezone,
    enabled: schedule.enabled,
    ...given("name", schedule.name),
    ...given("payload", schedule.payload === null ? null : write(schedule.payload)),
    ...given("lastRunAt", at(schedule.lastRunAt)),
    ...given("lastRunStatus", schedule.lastRunStatus),
    ...given("lastError", schedule.lastError),
    createdAt: new Date(schedule.createdAt).toISOString(),
  };
}
