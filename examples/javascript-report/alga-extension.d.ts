// Made by `ext-scheduler new`.

/** The records of the interfaces, and what an extension exports. */
declare module "alga:extension/types" {
  export type StorageError = "missing" | "conflict" | "denied" | "internal";
  export interface ContextData {
    requestId?: string;
    tenantId: string;
    extensionId: string;
    installId?: string;
    versionId?: string;
  }
  export interface HttpHeader {
    name: string;
    value: string;
  }
  export interface HttpRequest {
    method: string;
    /** Path and query, without scheme and host. */
    url: string;
    headers: HttpHeader[];
    body?: Uint8Array;
  }
  export interface ExecuteRequest {
    context: ContextData;
    http: HttpRequest;
  }
  export interface ExecuteResponse {
    status: number;
    headers: HttpHeader[];
    body?: Uint8Array;
  }
  export interface StorageEntry {
    namespace: string;
    key: string;
    value: Uint8Array;
    /** On put: absent writes whatever is there, a number only over that revision. */
    revision?: bigint;
  }
  /** The export `handler`: answers every request. */
  export type Handler = (request: ExecuteRequest) => ExecuteResponse;
}

/** The caller. Throws where `cap:context.read` is not granted. */
declare module "alga:extension/context" {
  import type { ContextData } from "alga:extension/types";
  export function getContext(): ContextData;
}

/** Lines of the extension's log. */
declare module "alga:extension/logging" {
  export function logInfo(message: string): void;
  export function logWarn(message: string): void;
  export function logError(message: string): void;
}

/** Throws an error whose `payload` is a `StorageError`. */
declare module "alga:extension/storage" {
  import type { StorageEntry } from "alga:extension/types";
  function get(namespace: string, key: string): StorageEntry;
  function put(entry: StorageEntry): StorageEntry;
  function _delete(namespace: string, key: string): void;
  function listEntries(namespace: string, cursor?: string): StorageEntry[];
  export { get, put, _delete as delete, listEntries };
}

/** The extension's own schedules. Reads throw an error whose `payload` is the code. */
declare module "alga:extension/scheduler" {
  export type SchedulerError = "not-found" | "validation-failed" | "quota-exceeded" | "denied" | "internal";
  export interface ScheduleInfo {
    id: string;
    endpointPath: string;
    endpointMethod: string;
    name?: string;
    cron: string;
    timezone: string;
    enabled: boolean;
    /** JSON text. */
    payload?: string;
    lastRunAt?: string;
    lastRunStatus?: string;
    lastError?: string;
    createdAt?: string;
  }
  export interface EndpointInfo {
    id: string;
    method: string;
    path: string;
    handler: string;
    schedulable: boolean;
  }
  export interface CreateScheduleInput {
    endpoint: string;
    cron: string;
    timezone?: string;
    enabled?: boolean;
    name?: string;
    /** JSON text. */
    payload?: string;
  }
  export interface CreateScheduleResult {
    success: boolean;
    scheduleId?: string;
    error?: string;
    /** JSON text: an object of field name to message. */
    fieldErrors?: string;
  }
  export interface UpdateScheduleInput {
    endpoint?: string;
    cron?: string;
    timezone?: string;
    enabled?: boolean;
    name?: string;
    /** JSON text; the text `null` clears the payload. */
    payload?: string;
  }
  export interface UpdateScheduleResult {
    success: boolean;
    error?: string;
    /** JSON text: an object of field name to message. */
    fieldErrors?: string;
  }
  export interface DeleteScheduleResult {
    success: boolean;
    error?: string;
  }
  export function listSchedules(): ScheduleInfo[];
  export function getSchedule(scheduleId: string): ScheduleInfo | undefined;
  export function createSchedule(input: CreateScheduleInput): CreateScheduleResult;
  export function updateSchedule(scheduleId: string, input: UpdateScheduleInput): UpdateScheduleResult;
  export function deleteSchedule(scheduleId: string): DeleteScheduleResult;
  export function getEndpoints(): EndpointInfo[];
}
