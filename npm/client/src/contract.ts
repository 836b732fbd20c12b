// Made from the contract by `make api`.

export const HOST_AUDIENCE = "ext.scheduler";
export const RUNNER_AUDIENCE = "ext.runner";
export const EXECUTE_OP = "execute";
export const EXECUTE_SUBJECT = "ext.runner.execute";
export const RUNNER_QUEUE = "ext-runner";
export const CONTEXT_HEADER = "Ext-Context";
export const REQUEST_ID_HEADER = "Ext-Request-Id";
export const DEADLINE_HEADER = "Ext-Deadline";
export const IDEMPOTENCY_HEADER = "Ext-Idempotency-Key";
export const CONTENT_TYPE_HEADER = "Content-Type";
export const ERROR_CODE_HEADER = "Nats-Service-Error-Code";
export const TRACE_HEADER = "traceparent";
export const JSON_CONTENT_TYPE = "application/json";
export const TOKEN_TYPE = "ext-context+jwt";
export const HS256 = "HS256";
export const MIN_SECRET_BYTES = 32;
export const DEFAULT_LIFETIME_S = 60;
export const MAX_LIFETIME_S = 120;
export const MAX_TOKEN_BYTES = 4096;
export const MAX_BODY_BYTES = 262144;
export const ED25519_NAMES: readonly string[] = ["Ed25519", "EdDSA"];
/** The operations that change something, and are repeated under one `jti`. */
export const CHANGES: readonly string[] = ["create", "update", "delete"];

/**
 * The claims of a token, under their wire names. `iat` and `exp` are Unix seconds.
 *
 * `jti` is the request's id and its idempotency key. `tenant_id`, `version_id` and
 * `extension_id` are texts, to be compared with the database: what does not match there is
 * denied, not malformed. `providers` absent and `providers` empty differ. An admin token has
 * `sub`, `permissions` and `tenant_id`; a host one has `install_id`.
 */
export interface Claims {
  iss: string;
  aud: string;
  iat: number;
  exp: number;
  jti: string;
  op: string;
  body_sha256: string;
  install_id?: string | null;
  tenant_id?: string | null;
  version_id?: string | null;
  extension_id?: string | null;
  providers?: string[] | null;
  sub?: string | null;
  permissions?: string[] | null;
  nbf?: number | null;
}

/** Why an operation was not carried out. Closed: a client may match on all of them. */
export type Code = "CONFLICT" | "DENIED" | "INSTALL_DISABLED" | "INTERNAL" | "NOT_FOUND" | "QUOTA_EXCEEDED" | "RATE_LIMITED" | "SCHEDULE_REMAP_FAILED" | "UNAUTHORIZED" | "UNAVAILABLE" | "VALIDATION_FAILED";

/** `endpoint` is `/path` or `METHOD /path`; `null` means absent. */
export interface CreateInput {
  endpoint: string;
  cron: string;
  timezone?: string | null;
  enabled?: boolean | null;
  name?: string | null;
  payload?: Record<string, unknown> | unknown[] | null;
}

/** The new schedule's id, or why there is none. */
export interface CreateOutput {
  success: boolean;
  code?: Code | null;
  error?: string | null;
  fieldErrors?: Record<string, string> | null;
  retryAfterMs?: number | null;
  scheduleId?: string | null;
}

/** One schedule by its UUID. */
export interface DeleteInput {
  scheduleId: string;
}

/** Whether the schedule was removed. */
export interface DeleteOutput {
  success: boolean;
  code?: Code | null;
  error?: string | null;
  fieldErrors?: Record<string, string> | null;
  retryAfterMs?: number | null;
}

/** An endpoint of the install's version; `schedulable` says whether a schedule may call it. */
export interface EndpointInfo {
  id: string;
  method: string;
  path: string;
  handler: string;
  schedulable: boolean;
}

/** The body of a service error, and of the negative result of any operation, reads included. */
export interface ErrorBody {
  code: Code;
  error: string;
  success: false;
  fieldErrors?: Record<string, string>;
  retryAfterMs?: number;
}

/**
 * The install that is called, and why.
 *
 * `request_id` is the token's `jti`, another one for each call; `trigger` is `schedule` or
 * `run_now`; `content_hash` reads `sha256:…`; config values that are not strings travel as
 * their JSON text. The optional members are absent when a Runner is called for something other
 * than a schedule.
 */
export interface ExecuteContext {
  request_id: string;
  tenant_id: string;
  extension_id: string;
  install_id?: string | null;
  version_id?: string | null;
  content_hash?: string | null;
  config?: Record<string, string>;
  trigger?: string | null;
  schedule_id?: string | null;
  scheduled_for?: string | null;
  attempt?: number | null;
}

/**
 * The call itself; `body_b64` is the base64 of the payload's JSON, never with GET.
 *
 * For a schedule, `headers` describe the call to the extension, whichever Runner it runs in:
 * `x-alga-tenant`, `x-alga-extension`, `x-alga-schedule-id`, `x-alga-schedule-name`
 * (UTF-8, percent-encoded; absent without a name), `x-alga-scheduled-for` (the slot),
 * `x-alga-attempt`, `x-alga-trigger` (`schedule` or `run_now`) and
 * `x-idempotency-key`: the occurrence, the same on every attempt.
 */
export interface ExecuteHttp {
  method: string;
  path: string;
  query?: Record<string, string>;
  headers?: Record<string, string>;
  body_b64?: string | null;
}

/** The Runner's own limit, the innermost of the nested timeouts. */
export interface ExecuteLimits {
  timeout_ms: number;
}

/** The Runner's `/v1/execute` document; `providers` are the effective capabilities. */
export interface ExecuteRequest {
  context: ExecuteContext;
  http: ExecuteHttp;
  limits: ExecuteLimits;
  providers?: string[];
  secret_envelope?: SecretEnvelope | null;
}

/** The Runner's response; it succeeded without `error` and with such a `status`. */
export interface ExecuteResponse {
  status: number;
  headers?: Record<string, string>;
  body_b64?: string | null;
  error?: string | null;
}

/** Nothing: the context says whose endpoints. */
export interface GetEndpointsInput {
}

/** By path, then method, in code-point order. */
export interface GetEndpointsOutput {
  endpoints: EndpointInfo[];
}

/** One schedule by its UUID. */
export interface GetInput {
  scheduleId: string;
}

/** Null for an unknown schedule and for another install's alike. */
export interface GetOutput {
  schedule: ScheduleInfo | null;
}

/** Nothing: the context says whose schedules. */
export interface ListInput {
}

/** By creation time, then id. */
export interface ListOutput {
  schedules: ScheduleInfo[];
}

/**
 * A schedule as its owner sees it. Members are always there, `null` when empty.
 *
 * Times are RFC 3339 texts as `wire_time` writes them; `next_run_at` is null while disabled.
 * The properties give them as aware datetimes, in UTC.
 */
export interface ScheduleInfo {
  id: string;
  endpointPath: string;
  endpointMethod: string;
  name: string | null;
  cron: string;
  timezone: string;
  enabled: boolean;
  payload: Record<string, unknown> | unknown[] | null;
  lastRunAt: string | null;
  lastRunStatus: string | null;
  lastError: string | null;
  createdAt: string;
  updatedAt: string;
  nextRunAt: string | null;
  revision: number;
}

/** The install's encrypted secrets, forwarded unopened; every member is text. */
export interface SecretEnvelope {
  ciphertext_b64: string;
  algorithm?: string | null;
  key_path?: string | null;
  mount?: string | null;
  version?: string | null;
  expires_at?: string | null;
}

/** An absent field is unchanged; `null` clears `name` or `payload`, and only those. */
export interface UpdateInput {
  scheduleId: string;
  endpoint?: string;
  cron?: string;
  timezone?: string;
  enabled?: boolean;
  name?: string | null;
  payload?: Record<string, unknown> | unknown[] | null;
  expectedRevision?: number;
}

/** Whether the update was made. */
export interface UpdateOutput {
  success: boolean;
  code?: Code | null;
  error?: string | null;
  fieldErrors?: Record<string, string> | null;
  retryAfterMs?: number | null;
}

/** The number of each code, as in the header `Nats-Service-Error-Code`. */
export const NUMBERS: Readonly<Record<Code, number>> = {
  VALIDATION_FAILED: 400,
  UNAUTHORIZED: 401,
  DENIED: 403,
  NOT_FOUND: 404,
  CONFLICT: 409,
  SCHEDULE_REMAP_FAILED: 409,
  INSTALL_DISABLED: 409,
  QUOTA_EXCEEDED: 429,
  RATE_LIMITED: 429,
  INTERNAL: 500,
  UNAVAILABLE: 503,
};
