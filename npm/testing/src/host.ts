// What an extension may call, behind the capabilities of its install.
import { CAPABILITIES, DEFAULT_CAPABILITIES, KNOWN_CAPABILITIES } from "./constants.js";
import type { InMemoryScheduler } from "./scheduler.js";
import { hostError, type MemoryStorage } from "./storage.js";
import { strip } from "./text.js";
import type {
  ContextData,
  CreateScheduleInput,
  CreateScheduleResult,
  DeleteScheduleResult,
  EndpointInfo,
  ScheduleInfo,
  UpdateScheduleInput,
  UpdateScheduleResult,
} from "./world.js";

type Interface = keyof typeof CAPABILITIES;
export type LogLevel = "info" | "warn" | "error";

/** The capabilities of an install: those that are granted and declared, and the defaults. */
export function effectiveCapabilities(granted: readonly string[], declared: readonly string[]): Set<string> {
  const names = (list: readonly string[]): string[] =>
    list.map((name) => strip(name).toLowerCase()).filter((name) => name !== "");
  const claims = new Set(names(declared));
  const held = names(granted).filter((name) => claims.size === 0 || claims.has(name));
  return new Set([...held.filter((name) => KNOWN_CAPABILITIES.includes(name)), ...DEFAULT_CAPABILITIES]);
}

/** The host functions of one install. A wrong type throws, where a component would trap. */
export class HostFunctions {
  readonly logged: (readonly [level: LogLevel, message: string])[] = [];
  readonly #capabilities: ReadonlySet<string>;
  readonly #scheduler: InMemoryScheduler;
  readonly #storage: MemoryStorage;
  readonly #context: () => ContextData;

  constructor(
    capabilities: ReadonlySet<string>,
    scheduler: InMemoryScheduler,
    storage: MemoryStorage,
    context: () => ContextData,
  ) {
    this.#capabilities = capabilities;
    this.#scheduler = scheduler;
    this.#storage = storage;
    this.#context = context;
  }

  getContext(): ContextData {
    if (!this.#may("context")) throw new Error(denial("context"));
    return this.#context();
  }

  log(level: LogLevel, message: string): void {
    expectText(message, "message");
    if (this.#may("logging")) this.logged.push([level, message]);
  }

  storage(): MemoryStorage {
    if (!this.#may("storage")) throw hostError("denied");
    return this.#storage;
  }

  listSchedules(): ScheduleInfo[] {
    this.#readsSchedules();
    return this.#scheduler.list();
  }

  getSchedule(scheduleId: string): ScheduleInfo | undefined {
    this.#readsSchedules();
    const found = this.#scheduler.get(expectText(scheduleId, "scheduleId"));
    if (found === null) throw hostError("validation-failed");
    return found;
  }

  getEndpoints(): EndpointInfo[] {
    this.#readsSchedules();
    return this.#scheduler.endpoints();
  }

  createSchedule(input: CreateScheduleInput): CreateScheduleResult {
    expectText(input.endpoint, "endpoint");
    expectText(input.cron, "cron");
    expectOptions(input);
    return this.#may("scheduler") ? this.#scheduler.create(input) : refusedChange();
  }

  updateSchedule(scheduleId: string, input: UpdateScheduleInput): UpdateScheduleResult {
    expectText(scheduleId, "scheduleId");
    expectOptions(input);
    return this.#may("scheduler") ? this.#scheduler.update(scheduleId, input) : refusedChange();
  }

  deleteSchedule(scheduleId: string): DeleteScheduleResult {
    expectText(scheduleId, "scheduleId");
    return this.#may("scheduler") ? this.#scheduler.delete(scheduleId) : refusedChange();
  }

  #may(name: Interface): boolean {
    return this.#capabilities.has(CAPABILITIES[name]);
  }

  #readsSchedules(): void {
    if (!this.#may("scheduler")) throw hostError("denied");
  }
}

const denial = (name: Interface): string => `Capability ${CAPABILITIES[name]} is not granted`;
const refusedChange = (): DeleteScheduleResult => ({ success: false, error: denial("scheduler") });

function expectText(value: unknown, name: string): string {
  if (typeof value !== "string") throw new TypeError(`${name}: expected a string, got ${typeof value}`);
  return value;
}

function expectOptions(input: UpdateScheduleInput): void {
  for (const name of ["endpoint", "cron", "timezone", "name", "payload"] as const) {
    if (input[name] !== undefined && input[name] !== null) expectText(input[name], name);
  }
  if (input.enabled !== undefined && input.enabled !== null && typeof input.enabled !== "boolean") {
    throw new TypeError(`enabled: expected a boolean, got ${typeof input.enabled}`);
  }
}
