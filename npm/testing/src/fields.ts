// The fields of a create or an update: all errors at once, in the order of the input.
import {
  CREATE_FIELDS,
  INVALID_ID,
  INVALID_NAME,
  INVALID_TIMEZONE,
  NAME_TOO_LONG,
  NOT_SCHEDULABLE,
  REQUIRED,
  TIMEZONE_TOO_LONG,
  UPDATE_FIELDS,
} from "./constants.js";
import { InvalidCronError, parseCron, type Cron } from "./cron.js";
import { parseSelector, type Selector } from "./endpoints.js";
import type { Json } from "./json.js";
import type { Limits } from "./limits.js";
import { checkPayload } from "./payload.js";
import { isStorable, length, strip } from "./text.js";
import { loadZone } from "./zones.js";

/** Field by wire name to message. */
export type FieldErrors = Record<string, string>;

/** Checked values: undefined where absent or in error, null clears. */
export interface Checked {
  readonly scheduleId?: string;
  readonly endpoint?: Selector;
  readonly cron?: Cron;
  readonly timezone?: string;
  readonly enabled?: boolean;
  readonly name?: string | null;
  readonly payload?: Json;
}

/** Fields as they were given, undefined where absent. */
export type Given = { readonly [Name in keyof Checked]?: unknown };

class InvalidValueError extends Error {}

const UUID = /^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$/;

/** Null means absent; endpoint and cron are required. */
export function checkCreate(given: Given, limits: Limits): [Checked, FieldErrors] {
  const present = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== null));
  return validate(CREATE_FIELDS, present, limits, ["endpoint", "cron"]);
}

/** Null clears name or payload, and is an error elsewhere. */
export function checkUpdate(given: Given, limits: Limits): [Checked, FieldErrors] {
  return validate(UPDATE_FIELDS, given, limits, ["scheduleId"]);
}

export function checkScheduleId(id: unknown, limits: Limits): [Checked, FieldErrors] {
  return validate(["scheduleId"], { scheduleId: id }, limits, ["scheduleId"]);
}

/** The same errors in the order of the input. */
export const orderErrors = (order: readonly string[], errors: FieldErrors): FieldErrors =>
  Object.fromEntries(order.filter((name) => name in errors).map((name) => [name, errors[name]!]));

function validate(
  order: readonly string[],
  given: Given,
  limits: Limits,
  required: readonly string[],
): [Checked, FieldErrors] {
  const values: Record<string, unknown> = {};
  const errors: FieldErrors = {};
  for (const name of order) {
    const value = given[name as keyof Given];
    if (value === undefined) {
      if (required.includes(name)) errors[name] = REQUIRED;
      continue;
    }
    try {
      values[name] = RULES[name as keyof Checked](value, limits);
    } catch (error) {
      if (!(error instanceof InvalidValueError) && !(error instanceof InvalidCronError)) throw error;
      errors[name] = error.message;
    }
  }
  return [values as Checked, errors];
}

const refuse = (message: string): never => {
  throw new InvalidValueError(message);
};

const wrongType = (expected: string): never => refuse(`Wrong type (expected ${expected})`);
const text = (value: unknown): string => (typeof value === "string" ? value : wrongType("string"));

const RULES: Record<keyof Checked, (value: unknown, limits: Limits) => unknown> = {
  scheduleId: (value) => (UUID.test(text(value)) ? text(value).toLowerCase() : refuse(INVALID_ID)),
  endpoint: (value, limits) => parseSelector(text(value), limits.maxEndpointLength) ?? refuse(NOT_SCHEDULABLE),
  cron: (value, limits) => parseCron(text(value), limits.minIntervalMinutes, limits.maxCronLength),
  timezone: (value, limits) => {
    const name = strip(text(value)) || "UTC";
    if (length(name) > limits.maxTimezoneLength) return refuse(TIMEZONE_TOO_LONG);
    return loadZone(name) === undefined ? refuse(INVALID_TIMEZONE) : name;
  },
  enabled: (value) => (typeof value === "boolean" ? value : wrongType("boolean")),
  name: (value, limits) => {
    if (value === null) return null;
    const name = strip(text(value));
    if (length(name) > limits.maxNameLength) return refuse(NAME_TOO_LONG);
    return isStorable(name) ? name || null : refuse(INVALID_NAME);
  },
  payload: (value, limits) => {
    const refusal = checkPayload(value as Json, limits.maxPayloadLength, limits.maxPayloadDepth);
    return refusal === undefined ? value : refuse(refusal);
  },
};
