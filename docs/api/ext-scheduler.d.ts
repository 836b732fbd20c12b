// Made by `ext-scheduler asyncapi --as typescript`.

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

/** What crosses the bus. */
declare module "ext-scheduler" {
  /**
   * The window (`from`, `to`], at most 31 days; by default the latest hour that is planned.
   *
   * A `cursor` keeps the window of its first page.
   */
  export interface AccountInput {
    tenantId?: string | null;
    from?: string | null;
    to?: string | null;
    limit?: number | null;
    cursor?: string | null;
  }
  /** A page, by tenant and id; after the existing schedules those that were deleted meanwhile. */
  export interface AccountOutput {
    from: string;
    to: string;
    schedules: ScheduleSlots[];
    nextCursor?: string | null;
  }
  /**
   * A schedule as administrators see it; `adopt` takes over one `drivenBy` `other`.
   *
   * `extension` is `publisher/name`, `words` the expression in English where it can be read;
   * `recentRuns` are as many as `listSchedules` was asked for, oldest first.
   */
  export interface AdminScheduleInfo {
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
    tenantId: string;
    installId: string;
    endpointId: string | null;
    runnerScheduleId: string | null;
    heldBy?: "driven_by_other" | "endpoint_missing" | "install_disabled" | "install_missing" | "schedule_disabled" | "tenant_paused" | "timer_missing" | null;
    jobId?: string | null;
    drivenBy?: "other" | "scheduler";
    extension?: string | null;
    words?: string | null;
    recentRuns?: RunMark[];
  }
  /**
   * Take over rows that another job runner drove, its pg-boss schema included where named.
   *
   * Only an operator's key may name a schema, because its rows belong to no tenant. With
   * `scheduleIds` no other schedule is taken over. `handlesRemovedBy` is for the audit: the
   * command that removed the handles of these schedules from the other job runner.
   */
  export interface AdoptInput {
    tenantId?: string | null;
    installId?: string | null;
    scheduleIds?: string[] | null;
    pgBossSchema?: string | null;
    handlesRemovedBy?: string | null;
    dryRun?: boolean;
  }
  /**
   * How many schedules were taken over, what was removed from pg-boss, and what was refused.
   *
   * `handles` are those by which other job runners may still drive the schedules, 1000 at most of
   * `handlesInAll`: a Temporal schedule fires until `temporal schedule delete` has removed it.
   * A schedule that was released and has no job yet is listed without a handle. `problems` names
   * each schedule that was not taken over, and why.
   */
  export interface AdoptOutput {
    success: boolean;
    code?: Code | null;
    error?: string | null;
    fieldErrors?: Record<string, string> | null;
    retryAfterMs?: number | null;
    adopted?: number | null;
    pgBossRemoved?: number | null;
    pgBossQueuesRemoved?: number | null;
    handlesInAll?: number | null;
    handles?: ForeignHandle[];
    problems?: Problem[];
  }
  /**
   * All or nothing. A schedule is matched by its name within the install, 1000 at most in all.
   *
   * `prune` deletes what the named installs have beyond that, schedules without a name included.
   * One that another job runner drives is refused where it would change.
   */
  export interface ApplySchedulesInput {
    tenantId: string;
    installs: DeclaredInstall[];
    prune?: boolean;
    dryRun?: boolean;
  }
  /**
   * What was changed, or would be. Field errors are keyed by path: `installs[0].schedules[2]`.
   *
   * A conflict is a schedule that another job runner drives.
   */
  export interface ApplySchedulesOutput {
    success: boolean;
    code?: Code | null;
    error?: string | null;
    fieldErrors?: Record<string, string> | null;
    retryAfterMs?: number | null;
    created?: number | null;
    updated?: number | null;
    deleted?: number | null;
    unchanged?: number | null;
    changes?: ScheduleChange[];
  }
  /** One attempt of a run. `finishedAt` is null while it runs, and where its worker was lost. */
  export interface AttemptInfo {
    attempt: number;
    worker: string | null;
    status: "error" | "running" | "skipped" | "success";
    startedAt: string | null;
    finishedAt: string | null;
    durationMs: number | null;
    httpStatus: number | null;
    error: string | null;
  }
  /** Who changed what; `trigger` is `host_api` or `admin`. */
  export interface AuditEntry {
    id: string;
    at: string;
    tenantId: string;
    installId: string | null;
    actor: string;
    trigger: string;
    op: string;
    changes: Record<string, unknown>;
    requestId: string | null;
  }
  /**
   * `since` and `until` are RFC 3339; `scheduleId` goes with its `installId`.
   *
   * `actor` and `op` are compared as they are spelled.
   */
  export interface AuditLogInput {
    tenantId?: string | null;
    installId?: string | null;
    scheduleId?: string | null;
    actor?: string | null;
    op?: string | null;
    since?: string | null;
    until?: string | null;
    limit?: number | null;
    cursor?: string | null;
  }
  /** A page, newest first. */
  export interface AuditLogOutput {
    entries: AuditEntry[];
    nextCursor?: string | null;
  }
  /** Materialise the endpoints of one version, or of all where none is named. */
  export interface BackfillEndpointsInput {
    versionId?: string | null;
  }
  /** Versions looked at, endpoint rows made, and what in the manifests was malformed. */
  export interface BackfillEndpointsOutput {
    success: boolean;
    code?: Code | null;
    error?: string | null;
    fieldErrors?: Record<string, string> | null;
    retryAfterMs?: number | null;
    versions?: number | null;
    endpointsCreated?: number | null;
    malformed?: Problem[];
  }
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
  /** As the host's `create`, plus the install; the endpoint by selector or by id. */
  export interface CreateScheduleInput {
    /** A UUID */
    installId: string;
    endpoint?: string | null;
    endpointId?: string | null;
    cron: string;
    timezone?: string | null;
    enabled?: boolean | null;
    name?: string | null;
    payload?: Record<string, unknown> | unknown[] | null;
  }
  /**
   * A slot in UTC and, with its offset, on the wall clock of the zone (both RFC 3339).
   *
   * `remark` is set where the clock changed since the slot before, or will show this time again.
   */
  export interface CronSlot {
    utc: string;
    local: string;
    remark: string | null;
  }
  /** The schedules of a tenant's install of an extension, by publisher and name. */
  export interface DeclaredInstall {
    publisher: string;
    name: string;
    schedules: DeclaredSchedule[];
  }
  /** What the schedule of this name is to be; a field that is absent has its default. */
  export interface DeclaredSchedule {
    name: string;
    endpoint: string;
    cron: string;
    timezone?: string | null;
    enabled?: boolean | null;
    payload?: Record<string, unknown> | unknown[] | null;
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
  /** As the host's `delete`, plus the install; `adopt` as in `updateSchedule`. */
  export interface DeleteScheduleInput {
    /** A UUID */
    installId: string;
    /** A UUID */
    scheduleId: string;
    adopt?: boolean;
  }
  /** All schedules of an install. */
  export interface DisableSchedulesInput {
    /** A UUID */
    installId: string;
  }
  /** How many were enabled before; those that another job runner drives are left as they are. */
  export interface DisableSchedulesOutput {
    success: boolean;
    code?: Code | null;
    error?: string | null;
    fieldErrors?: Record<string, string> | null;
    retryAfterMs?: number | null;
    disabled?: number | null;
    drivenByOther?: ForeignHandle[];
  }
  /** How many slots fall into a minute. */
  export interface DueMinute {
    minute: string;
    count: number;
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
  /** One event, always JSON. `id` is a UUID by which clients detect repeats; `at` RFC 3339. */
  export interface Event {
    id: string;
    type: EventType;
    tenantId: string;
    installId: string;
    scheduleId?: string;
    runId?: string;
    at: string;
    data: Record<string, unknown>;
  }
  /** What happened; the dot stays in the subject. */
  export type EventType = "install.removed" | "install.updated" | "run.failed" | "run.succeeded" | "schedule.created" | "schedule.deleted" | "schedule.disabled" | "schedule.failing" | "schedule.missed" | "schedule.recovered" | "schedule.updated";
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
  /** Why a schedule fires or does not; with `at`, what became of that slot. */
  export interface ExplainInput {
    /** A UUID */
    scheduleId: string;
    at?: string | null;
  }
  /** The findings, in the order in which to read them; `slot` is the instant asked about. */
  export interface ExplainOutput {
    scheduleId: string;
    tenantId: string;
    installId: string;
    name: string | null;
    cron: string;
    timezone: string;
    words: string | null;
    nextRunAt: string | null;
    slot: string | null;
    findings: Finding[];
  }
  /** Whose schedules. What is too much for one import comes as several documents, page by page. */
  export interface ExportTenantInput {
    tenantId: string;
    limit?: number | null;
    cursor?: string | null;
  }
  /** The document that `importTenant` takes; `omitted` are schedules without endpoint. */
  export interface ExportTenantOutput {
    document: TenantDocument;
    omitted?: Problem[];
    nextCursor?: string | null;
  }
  /**
   * A field before and after, as text for people; null where there is no value.
   *
   * A payload is JSON, of which 200 characters are shown at most.
   */
  export interface FieldChange {
    field: string;
    before: string | null;
    after: string | null;
  }
  /**
   * One answer to "why". `holds` is true where it keeps the schedule from firing now.
   *
   * `code` is for programs, `text` and `advice` are for people; `runId` is the run that it
   * is about. Members are always there, `null` when empty.
   */
  export interface Finding {
    code: "capability_missing" | "cron_invalid" | "driven_by_other" | "endpoint_missing" | "install_disabled" | "install_missing" | "last_run_failed" | "no_worker_up" | "nothing_holds" | "quota_used" | "rate_used" | "retry_waiting" | "run_in_progress" | "run_waiting" | "runner_away" | "schedule_disabled" | "schedule_failing" | "slot_before_schedule" | "slot_during_install_disabled" | "slot_during_pause" | "slot_during_schedule_disabled" | "slot_expired" | "slot_failed" | "slot_in_future" | "slot_in_progress" | "slot_missed" | "slot_not_due" | "slot_ran" | "slot_skipped" | "slot_skipped_by_clock" | "slot_unaccounted" | "tenant_paused" | "timer_differs" | "timer_missing" | "timer_overdue";
    text: string;
    holds: boolean;
    since: string | null;
    by: string | null;
    advice: string | null;
    runId: string | null;
  }
  /** By what another job runner knows a schedule; the handle of a released one is empty. */
  export interface ForeignHandle {
    scheduleId: string;
    jobId?: string | null;
    runnerScheduleId?: string | null;
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
  /** One run; an operator who knows the tenant saves a search by giving it. */
  export interface GetRunInput {
    /** A UUID */
    runId: string;
    tenantId?: string | null;
  }
  /**
   * The run with its attempts, first to last; an unknown run is `NOT_FOUND`.
   *
   * `retryAt` is set while the run waits for its next attempt, `leaseUntil` while one runs.
   * `requestId` is that of the latest call to a Runner, as in the logs of worker and Runner;
   * `traceId` that of the run's trace, which exists where workers export traces.
   */
  export interface GetRunOutput {
    run: RunInfo;
    attempts: AttemptInfo[];
    retryAt: string | null;
    leaseUntil: string | null;
    requestId: string | null;
    traceId: string;
  }
  /** One schedule of any install that the token may see. */
  export interface GetScheduleInput {
    /** A UUID */
    scheduleId: string;
  }
  /** The schedule; an unknown one is `NOT_FOUND`. `paused` is its tenant's pause, if any. */
  export interface GetScheduleOutput {
    schedule: AdminScheduleInfo;
    paused?: TenantPause | null;
  }
  /** All or nothing; `tenantId` is where to, not where from. */
  export interface ImportTenantInput {
    tenantId: string;
    document: TenantDocument;
    dryRun?: boolean;
  }
  /** How many schedules were made, or would be; otherwise the rows that are wrong. */
  export interface ImportTenantOutput {
    success: boolean;
    code?: Code | null;
    error?: string | null;
    fieldErrors?: Record<string, string> | null;
    retryAfterMs?: number | null;
    created?: number | null;
    rowErrors?: RowError[];
  }
  /** One kind of inconsistency: the number found and repaired, and some of the ids. */
  export interface Inconsistency {
    kind: "job_without_run" | "run_without_job" | "schedule_without_endpoint" | "schedule_without_install" | "schedule_without_timer" | "stale_timer" | "timer_without_schedule";
    found: number;
    repaired: number;
    examples: string[];
  }
  /**
   * An install. `capabilities` are the effective ones; `quota` is the number of schedules
   * that it may have. Runs and failures are of the slots of the last 24 hours; the rate is that of
   * its changes, used within the last minute. Members are always there, `null` when empty.
   */
  export interface InstallInfo {
    id: string;
    tenantId: string;
    registryId: string;
    publisher: string | null;
    name: string | null;
    versionId: string;
    version: string | null;
    enabled: boolean;
    tenantPaused: boolean;
    capabilities: string[];
    schedules: number;
    enabledSchedules: number;
    quota: number;
    runsOfDay: number;
    failuresOfDay: number;
    rateUsed: number;
    rateLimit: number;
    updatedAt: string | null;
  }
  /**
   * From slot to call, of the last hour's runs that began at their first attempt, in ms.
   *
   * `spread_ms` of it are intended: the period over which the starts of one slot are spread.
   */
  export interface Lateness {
    runs: number;
    p50Ms: number;
    p99Ms: number;
    maxMs: number;
    spreadMs?: number;
  }
  /** Of the version that the install has now. */
  export interface ListEndpointsInput {
    /** A UUID */
    installId: string;
  }
  /** By path, then method, in code-point order. */
  export interface ListEndpointsOutput {
    endpoints: EndpointInfo[];
  }
  /** Nothing: the context says whose schedules. */
  export interface ListInput {
  }
  /** Filters; `publisher`, `name` and `version` are compared as they are spelled. */
  export interface ListInstallsInput {
    tenantId?: string | null;
    publisher?: string | null;
    name?: string | null;
    version?: string | null;
    enabled?: boolean | null;
    idPrefix?: string | null;
    limit?: number | null;
    cursor?: string | null;
  }
  /** A page, by tenant, then id. */
  export interface ListInstallsOutput {
    installs: InstallInfo[];
    nextCursor?: string | null;
  }
  /** By creation time, then id. */
  export interface ListOutput {
    schedules: ScheduleInfo[];
  }
  /**
   * Which schedules to list, and in which order.
   *
   * A schedule is `failing` if its last run ended in an error, and `held` if something keeps it
   * from firing. `text` is searched for in name, endpoint path, extension and tenant. With
   * `text`, `cron` or `held` a page may be empty and still have a `nextCursor`, because a
   * request looks at a bounded number of schedules. `sort`, by next or last run, can be combined
   * with `tenantId` and `installId` only; `last` needs a tenant. With `idPrefix` there is
   * one page at most.
   */
  export interface ListSchedulesInput {
    tenantId?: string | null;
    installId?: string | null;
    enabled?: boolean | null;
    failing?: boolean | null;
    idPrefix?: string | null;
    text?: string | null;
    cron?: string | null;
    held?: boolean | null;
    sort?: "last" | "next" | null;
    recentRuns?: number | null;
    limit?: number | null;
    cursor?: string | null;
  }
  /** A page. */
  export interface ListSchedulesOutput {
    schedules: AdminScheduleInfo[];
    nextCursor?: string | null;
  }
  /** Only tenants that are paused, or are not, where `paused` is given. */
  export interface ListTenantsInput {
    tenantId?: string | null;
    paused?: boolean | null;
    limit?: number | null;
    cursor?: string | null;
  }
  /** A page, by tenant id. */
  export interface ListTenantsOutput {
    tenants: TenantInfo[];
    nextCursor?: string | null;
  }
  /**
   * Of one tenant, or of all; with `cron`, what a new schedule of it would meet; with
   * `minute`, an instant of the week, whose slots are in it, of at most `limit` tenants.
   */
  export interface LoadInput {
    tenantId?: string | null;
    cron?: string | null;
    timezone?: string | null;
    minute?: string | null;
    limit?: number | null;
  }
  /** A minute of the coming week, as an RFC 3339 instant. */
  export interface LoadMinuteInput {
    minute: string;
    tenantId?: string | null;
    limit?: number | null;
  }
  /** Who fills a minute: the tenants with the most schedules first, and how many there are. */
  export interface LoadMinuteOutput {
    minute: string;
    schedules: number;
    tenants: number;
    most: TenantLoad[];
  }
  /**
   * How many slots of enabled schedules fall into each minute of the week that begins at
   * `begins`; 10,080 numbers.
   *
   * Those of paused tenants and disabled installs count: such a hold may end any minute. `met` is
   * null where no `cron` was given, `minute` absent where none was.
   */
  export interface LoadOutput {
    begins: string;
    schedules: number;
    slots: number;
    minutes: number[];
    met: MetLoad | null;
    minute?: LoadMinuteOutput | null;
  }
  /** An extension's own description of one version; other members are ignored. */
  export interface Manifest {
    name: string;
    publisher: string;
    version: string;
    displayName?: string | null;
    runtime?: string | null;
    capabilities?: string[];
    api?: ManifestApi;
    ui?: Record<string, unknown> | null;
  }
  /** The part of a manifest that lists endpoints. */
  export interface ManifestApi {
    endpoints?: ManifestEndpoint[];
  }
  /** An endpoint that an extension declares; absence of `schedulable` does not exclude. */
  export interface ManifestEndpoint {
    method: string;
    path: string;
    handler: string;
    schedulable?: boolean | null;
  }
  /**
   * How busy the minutes are in which a new schedule would have its `slots` of the week.
   *
   * `median` is the median number of other schedules' slots in those minutes, `most` the largest
   * number, which is reached at `mostAt`.
   */
  export interface MetLoad {
    slots: number;
    median: number;
    most: number;
    mostAt: string | null;
  }
  /**
   * A pause of a tenant, still going on where `until` is null.
   *
   * `slots` are those of the schedule that fell into it, by the expression that it has now.
   */
  export interface PausedPeriod {
    since: string;
    until: string | null;
    by: string;
    reason: string | null;
    slots: number;
  }
  /** An extension's schedules in one tenant. */
  export interface PortableExtension {
    publisher: string;
    name: string;
    schedules: PortableSchedule[];
  }
  /** A schedule without ids, so that it survives a move. */
  export interface PortableSchedule {
    endpointMethod: string;
    endpointPath: string;
    name?: string | null;
    cron: string;
    timezone?: string;
    enabled?: boolean;
    payload?: Record<string, unknown> | unknown[] | null;
  }
  /** `from` is RFC 3339, default now; `count` is at most 50. */
  export interface PreviewCronInput {
    cron: string;
    timezone?: string | null;
    count?: number | null;
    from?: string | null;
  }
  /**
   * Slots in order, RFC 3339; `words` is the expression in English, `details` the same slots
   * for people.
   */
  export interface PreviewCronOutput {
    slots: string[];
    words?: string;
    details?: CronSlot[];
  }
  /** Something that was found and not changed, with its subject. */
  export interface Problem {
    subject: string;
    message: string;
  }
  /** Uninstall everything of a tenant. */
  export interface PurgeTenantInput {
    tenantId: string;
  }
  /** How many rows were removed; `handles` as in `uninstall`. */
  export interface PurgeTenantOutput {
    success: boolean;
    code?: Code | null;
    error?: string | null;
    fieldErrors?: Record<string, string> | null;
    retryAfterMs?: number | null;
    installsRemoved?: number | null;
    schedulesRemoved?: number | null;
    runsRemoved?: number | null;
    handlesInAll?: number | null;
    handles?: ForeignHandle[];
  }
  /** Find and repair; `dryRun` reports only. */
  export interface ReconcileInput {
    tenantId?: string | null;
    dryRun?: boolean;
  }
  /** Every kind of inconsistency found; empty when there is none. */
  export interface ReconcileOutput {
    success: boolean;
    code?: Code | null;
    error?: string | null;
    fieldErrors?: Record<string, string> | null;
    retryAfterMs?: number | null;
    inconsistencies?: Inconsistency[];
  }
  /**
   * One version of an extension, installed in one tenant. `grants` are capabilities.
   *
   * Only an operator's key registers a version; a tenant's installs what is registered, and only if
   * the manifest and the content hash are the registered ones.
   */
  export interface RegisterInstallInput {
    tenantId: string;
    manifest: Manifest;
    contentHash: string;
    grants?: string[];
    config?: Record<string, unknown>;
  }
  /**
   * The ids of the rows, new or found.
   *
   * `version_id` is the version registered. An install that was there stays on the version it has,
   * `installed_version_id`, until `updateInstall` moves it and its schedules.
   */
  export interface RegisterInstallOutput {
    success: boolean;
    code?: Code | null;
    error?: string | null;
    fieldErrors?: Record<string, string> | null;
    retryAfterMs?: number | null;
    registryId?: string | null;
    versionId?: string | null;
    installId?: string | null;
    installedVersionId?: string | null;
  }
  /** Give schedules back to the platform, as `adopt` took them. */
  export interface ReleaseInput {
    tenantId?: string | null;
    installId?: string | null;
    scheduleId?: string | null;
    dryRun?: boolean;
  }
  /** How many schedules have no timer and no handle any more: the platform gives them its own. */
  export interface ReleaseOutput {
    success: boolean;
    code?: Code | null;
    error?: string | null;
    fieldErrors?: Record<string, string> | null;
    retryAfterMs?: number | null;
    released?: number | null;
  }
  /**
   * What cannot be imported of a document; positions count from 0.
   *
   * `schedule` is null where the extension as a whole is what is wrong.
   */
  export interface RowError {
    extension: number;
    schedule: number | null;
    fieldErrors: Record<string, string>;
  }
  /**
   * Of one schedule, one install, one tenant, or all; an operator gives `tenantId` with a
   * schedule or install that is deleted. `since` and `until` (RFC 3339, both inclusive) bound
   * the slot.
   */
  export interface RunHistoryInput {
    tenantId?: string | null;
    scheduleId?: string | null;
    installId?: string | null;
    status?: "error" | "queued" | "running" | "skipped" | "skipped_overlap" | "success" | null;
    since?: string | null;
    until?: string | null;
    limit?: number | null;
    cursor?: string | null;
  }
  /**
   * A page, newest first.
   *
   * Of one schedule, `pauses` are those of its tenant in the time of the page, newest first: the
   * slots that fell into them have no run.
   */
  export interface RunHistoryOutput {
    runs: RunInfo[];
    nextCursor?: string | null;
    pauses?: PausedPeriod[];
  }
  /** A run record. Members are always there, `null` when empty; times are RFC 3339. */
  export interface RunInfo {
    id: string;
    tenantId: string;
    installId: string;
    scheduleId: string;
    slot: string;
    kind: "manual" | "scheduled";
    trigger: "catchup" | "run_now" | "schedule";
    status: "error" | "queued" | "running" | "skipped" | "skipped_overlap" | "success";
    attempts: number;
    queuedAt: string;
    startedAt: string | null;
    finishedAt: string | null;
    durationMs: number | null;
    httpStatus: number | null;
    error: string | null;
    missed: number;
    worker: string | null;
  }
  /** A run in short. */
  export interface RunMark {
    runId: string;
    slot: string;
    status: "error" | "queued" | "running" | "skipped" | "skipped_overlap" | "success";
  }
  /** The runs of the slots of a minute, by status. */
  export interface RunMinute {
    minute: string;
    queued?: number;
    running?: number;
    success?: number;
    error?: number;
    skipped?: number;
    skippedOverlap?: number;
  }
  /** One manual run; idempotent per schedule and minute. */
  export interface RunNowInput {
    /** A UUID */
    scheduleId: string;
  }
  /** The run record to watch. */
  export interface RunNowOutput {
    success: boolean;
    code?: Code | null;
    error?: string | null;
    fieldErrors?: Record<string, string> | null;
    retryAfterMs?: number | null;
    runId?: string | null;
  }
  /** A schedule that was changed, or would be; one that would be created has no id yet. */
  export interface ScheduleChange {
    action: "create" | "delete" | "update";
    publisher: string;
    extension: string;
    name: string | null;
    installId: string;
    scheduleId: string | null;
    fields: FieldChange[];
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
  /**
   * What became of the slots of a schedule; `fired` to `unaccounted` add up to `slots`.
   *
   * `skipped` counts slots by the reason of their run, `swallowed` by what kept them from
   * firing: `tenant_paused`, `install_disabled` or `schedule_disabled`. `superseded` slots
   * had not been planned when the schedule was changed, `waiting` ones are due and about to be
   * planned. `unaccountedSlots` are the first 20 that nothing on record explains. `absent` slots
   * did not exist, because the schedule was `created`, `updated` or `deleted` within the
   * window, or was `driven_by_other`. `deletedAt` is null where the schedule exists.
   */
  export interface ScheduleSlots {
    scheduleId: string;
    tenantId: string;
    installId: string;
    name: string | null;
    cron: string;
    timezone: string;
    deletedAt: string | null;
    slots: number;
    fired: number;
    missed: number;
    skipped: Record<string, number>;
    swallowed: Record<string, number>;
    superseded: number;
    waiting: number;
    unaccounted: number;
    unaccountedSlots: string[];
    absent: Record<string, number>;
  }
  /** A schedule and the endpoint it is for, by method and path. */
  export interface ScheduleTarget {
    scheduleId: string;
    name: string | null;
    method: string;
    path: string;
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
  /** Off: nothing fires. On: from the next slot. */
  export interface SetInstallEnabledInput {
    /** A UUID */
    installId: string;
    enabled: boolean;
  }
  /** Whether the change was made. */
  export interface SetInstallEnabledOutput {
    success: boolean;
    code?: Code | null;
    error?: string | null;
    fieldErrors?: Record<string, string> | null;
    retryAfterMs?: number | null;
  }
  /** The kill switch: nothing of the tenant fires while paused; `reason` is for people. */
  export interface SetTenantPausedInput {
    tenantId: string;
    paused: boolean;
    reason?: string | null;
  }
  /** Whether the change was made. */
  export interface SetTenantPausedOutput {
    success: boolean;
    code?: Code | null;
    error?: string | null;
    fieldErrors?: Record<string, string> | null;
    retryAfterMs?: number | null;
  }
  /** Assign a tenant to a pool of Runners; without `pool` to the default one. */
  export interface SetTenantPoolInput {
    tenantId: string;
    pool?: string | null;
  }
  /** Whether the change was made. */
  export interface SetTenantPoolOutput {
    success: boolean;
    code?: Code | null;
    error?: string | null;
    fieldErrors?: Record<string, string> | null;
    retryAfterMs?: number | null;
  }
  /** Of one tenant, or of all. */
  export interface StatsInput {
    tenantId?: string | null;
  }
  /**
   * The figures of the last hour and of the coming one; minutes without any are left out.
   *
   * `due` counts the slots that will fire, without those of paused tenants and disabled installs.
   * `missed` counts slots that were passed over: those that the runs of the last hour recorded,
   * and those that no run has recorded yet. `queued` counts the jobs that wait, those for a later
   * time included. `workers` is empty for a tenant's key.
   */
  export interface StatsOutput {
    at: string;
    due: DueMinute[];
    runs: RunMinute[];
    lateness: Lateness | null;
    enabledSchedules: number;
    failingSchedules: number;
    pausedTenants: number;
    disabledInstalls: number;
    missed: number;
    queued: number;
    workersUp: number;
    workers?: WorkerInfo[];
  }
  /** Schedules of a tenant, at most 1000 in all; `format` is 1. */
  export interface TenantDocument {
    format: number;
    tenantId: string;
    extensions: PortableExtension[];
  }
  /**
   * A tenant with installs, or one that is paused or assigned to a Runner pool.
   *
   * `paused` is null while it fires, `runnerPool` in the default pool. Runs and failures are of
   * the slots of the last 24 hours; the rate is that of manual runs, used within the last minute.
   */
  export interface TenantInfo {
    tenantId: string;
    installs: number;
    enabledInstalls: number;
    schedules: number;
    enabledSchedules: number;
    runsOfDay: number;
    failuresOfDay: number;
    rateUsed: number;
    rateLimit: number;
    paused: TenantPause | null;
    runnerPool: string | null;
  }
  /** How many of a tenant's enabled schedules have a slot in the minute. */
  export interface TenantLoad {
    tenantId: string;
    schedules: number;
  }
  /** Since when a tenant is paused, by whom, and why where a reason was given. */
  export interface TenantPause {
    since: string;
    by: string;
    reason: string | null;
  }
  /** Remove an install and everything that belongs to it except the audit. */
  export interface UninstallInput {
    /** A UUID */
    installId: string;
  }
  /**
   * How many rows were removed; `handles` are jobs that other job runners still have.
   *
   * 1000 at most of `handlesInAll`.
   */
  export interface UninstallOutput {
    success: boolean;
    code?: Code | null;
    error?: string | null;
    fieldErrors?: Record<string, string> | null;
    retryAfterMs?: number | null;
    schedulesRemoved?: number | null;
    runsRemoved?: number | null;
    handlesInAll?: number | null;
    handles?: ForeignHandle[];
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
  /** Move an install to the version named by exactly one of `version` and `versionId`. */
  export interface UpdateInstallInput {
    /** A UUID */
    installId: string;
    version?: string | null;
    versionId?: string | null;
    disableMissingSchedules?: boolean;
    dryRun?: boolean;
  }
  /** What was moved, or would be; `missing` have no endpoint in the new version. */
  export interface UpdateInstallOutput {
    success: boolean;
    code?: Code | null;
    error?: string | null;
    fieldErrors?: Record<string, string> | null;
    retryAfterMs?: number | null;
    remapped?: ScheduleTarget[];
    missing?: ScheduleTarget[];
    reenabled?: ScheduleTarget[];
  }
  /** Whether the update was made. */
  export interface UpdateOutput {
    success: boolean;
    code?: Code | null;
    error?: string | null;
    fieldErrors?: Record<string, string> | null;
    retryAfterMs?: number | null;
  }
  /**
   * As the host's `update`, plus the install; the endpoint by selector or by id.
   *
   * `adopt` takes over a schedule that another job runner drives, which is otherwise a conflict;
   * cancelling the job there is left to the caller. `reason` is for people, in the audit.
   */
  export interface UpdateScheduleInput {
    /** A UUID */
    installId: string;
    /** A UUID */
    scheduleId: string;
    endpoint?: string;
    /** A UUID */
    endpointId?: string;
    cron?: string;
    timezone?: string;
    enabled?: boolean;
    name?: string | null;
    payload?: Record<string, unknown> | unknown[] | null;
    expectedRevision?: number;
    adopt?: boolean;
    reason?: string;
  }
  /** A worker: the runs it has in flight, and the most it takes at once. */
  export interface WorkerInfo {
    name: string;
    up: boolean;
    startedAt: string;
    seenAt: string;
    inFlight: number;
    capacity: number;
  }
  /** The number of each code, as in the header `Nats-Service-Error-Code`. */
  export interface Numbers {
    VALIDATION_FAILED: 400;
    UNAUTHORIZED: 401;
    DENIED: 403;
    NOT_FOUND: 404;
    CONFLICT: 409;
    SCHEDULE_REMAP_FAILED: 409;
    INSTALL_DISABLED: 409;
    QUOTA_EXCEEDED: 429;
    RATE_LIMITED: 429;
    INTERNAL: 500;
    UNAVAILABLE: 503;
  }
  /** A negative result, or a service error, with one of these codes. */
  export type Refusal<C extends Code> = ErrorBody & { code: C };
  /** `ext.scheduler.<op>`: `refusal` are results, `error` the service's own errors. */
  export interface HostOperations {
    list: {
      input: ListInput;
      output: ListOutput;
      refusal: Refusal<never>;
      error: Refusal<"VALIDATION_FAILED" | "UNAUTHORIZED" | "DENIED" | "INTERNAL" | "UNAVAILABLE" | "NOT_FOUND">;
    };
    get: {
      input: GetInput;
      output: GetOutput;
      refusal: Refusal<"VALIDATION_FAILED">;
      error: Refusal<"VALIDATION_FAILED" | "UNAUTHORIZED" | "DENIED" | "INTERNAL" | "UNAVAILABLE" | "NOT_FOUND">;
    };
    create: {
      input: CreateInput;
      output: CreateOutput;
      refusal: Refusal<"VALIDATION_FAILED" | "CONFLICT" | "QUOTA_EXCEEDED">;
      error: Refusal<"VALIDATION_FAILED" | "UNAUTHORIZED" | "DENIED" | "INTERNAL" | "UNAVAILABLE" | "NOT_FOUND" | "CONFLICT" | "RATE_LIMITED">;
    };
    update: {
      input: UpdateInput;
      output: UpdateOutput;
      refusal: Refusal<"VALIDATION_FAILED" | "NOT_FOUND" | "CONFLICT">;
      error: Refusal<"VALIDATION_FAILED" | "UNAUTHORIZED" | "DENIED" | "INTERNAL" | "UNAVAILABLE" | "NOT_FOUND" | "CONFLICT" | "RATE_LIMITED">;
    };
    delete: {
      input: DeleteInput;
      output: DeleteOutput;
      refusal: Refusal<"VALIDATION_FAILED" | "NOT_FOUND" | "CONFLICT">;
      error: Refusal<"VALIDATION_FAILED" | "UNAUTHORIZED" | "DENIED" | "INTERNAL" | "UNAVAILABLE" | "NOT_FOUND" | "CONFLICT" | "RATE_LIMITED">;
    };
    getEndpoints: {
      input: GetEndpointsInput;
      output: GetEndpointsOutput;
      refusal: Refusal<never>;
      error: Refusal<"VALIDATION_FAILED" | "UNAUTHORIZED" | "DENIED" | "INTERNAL" | "UNAVAILABLE" | "NOT_FOUND">;
    };
  }
  /** `ext.scheduler.admin.<op>`: `refusal` are results, `error` the service's own errors. */
  export interface AdminOperations {
    registerInstall: {
      input: RegisterInstallInput;
      output: RegisterInstallOutput;
      refusal: Refusal<"VALIDATION_FAILED" | "CONFLICT">;
      error: Refusal<"VALIDATION_FAILED" | "UNAUTHORIZED" | "DENIED" | "INTERNAL" | "UNAVAILABLE" | "CONFLICT">;
    };
    updateInstall: {
      input: UpdateInstallInput;
      output: UpdateInstallOutput;
      refusal: Refusal<"VALIDATION_FAILED" | "NOT_FOUND" | "SCHEDULE_REMAP_FAILED">;
      error: Refusal<"VALIDATION_FAILED" | "UNAUTHORIZED" | "DENIED" | "INTERNAL" | "UNAVAILABLE" | "CONFLICT">;
    };
    setInstallEnabled: {
      input: SetInstallEnabledInput;
      output: SetInstallEnabledOutput;
      refusal: Refusal<"VALIDATION_FAILED" | "NOT_FOUND">;
      error: Refusal<"VALIDATION_FAILED" | "UNAUTHORIZED" | "DENIED" | "INTERNAL" | "UNAVAILABLE" | "CONFLICT">;
    };
    uninstall: {
      input: UninstallInput;
      output: UninstallOutput;
      refusal: Refusal<"VALIDATION_FAILED" | "NOT_FOUND" | "CONFLICT">;
      error: Refusal<"VALIDATION_FAILED" | "UNAUTHORIZED" | "DENIED" | "INTERNAL" | "UNAVAILABLE" | "CONFLICT">;
    };
    purgeTenant: {
      input: PurgeTenantInput;
      output: PurgeTenantOutput;
      refusal: Refusal<"VALIDATION_FAILED" | "NOT_FOUND" | "CONFLICT">;
      error: Refusal<"VALIDATION_FAILED" | "UNAUTHORIZED" | "DENIED" | "INTERNAL" | "UNAVAILABLE" | "CONFLICT">;
    };
    setTenantPaused: {
      input: SetTenantPausedInput;
      output: SetTenantPausedOutput;
      refusal: Refusal<"VALIDATION_FAILED" | "NOT_FOUND">;
      error: Refusal<"VALIDATION_FAILED" | "UNAUTHORIZED" | "DENIED" | "INTERNAL" | "UNAVAILABLE" | "CONFLICT">;
    };
    setTenantPool: {
      input: SetTenantPoolInput;
      output: SetTenantPoolOutput;
      refusal: Refusal<"VALIDATION_FAILED">;
      error: Refusal<"VALIDATION_FAILED" | "UNAUTHORIZED" | "DENIED" | "INTERNAL" | "UNAVAILABLE" | "CONFLICT">;
    };
    disableSchedules: {
      input: DisableSchedulesInput;
      output: DisableSchedulesOutput;
      refusal: Refusal<"VALIDATION_FAILED" | "NOT_FOUND">;
      error: Refusal<"VALIDATION_FAILED" | "UNAUTHORIZED" | "DENIED" | "INTERNAL" | "UNAVAILABLE" | "CONFLICT">;
    };
    adopt: {
      input: AdoptInput;
      output: AdoptOutput;
      refusal: Refusal<"VALIDATION_FAILED" | "NOT_FOUND">;
      error: Refusal<"VALIDATION_FAILED" | "UNAUTHORIZED" | "DENIED" | "INTERNAL" | "UNAVAILABLE" | "CONFLICT">;
    };
    release: {
      input: ReleaseInput;
      output: ReleaseOutput;
      refusal: Refusal<"VALIDATION_FAILED" | "NOT_FOUND">;
      error: Refusal<"VALIDATION_FAILED" | "UNAUTHORIZED" | "DENIED" | "INTERNAL" | "UNAVAILABLE" | "CONFLICT">;
    };
    reconcile: {
      input: ReconcileInput;
      output: ReconcileOutput;
      refusal: Refusal<"VALIDATION_FAILED" | "NOT_FOUND">;
      error: Refusal<"VALIDATION_FAILED" | "UNAUTHORIZED" | "DENIED" | "INTERNAL" | "UNAVAILABLE" | "CONFLICT">;
    };
    listTenants: {
      input: ListTenantsInput;
      output: ListTenantsOutput;
      refusal: Refusal<"VALIDATION_FAILED" | "NOT_FOUND">;
      error: Refusal<"VALIDATION_FAILED" | "UNAUTHORIZED" | "DENIED" | "INTERNAL" | "UNAVAILABLE">;
    };
    listInstalls: {
      input: ListInstallsInput;
      output: ListInstallsOutput;
      refusal: Refusal<"VALIDATION_FAILED" | "NOT_FOUND">;
      error: Refusal<"VALIDATION_FAILED" | "UNAUTHORIZED" | "DENIED" | "INTERNAL" | "UNAVAILABLE">;
    };
    listSchedules: {
      input: ListSchedulesInput;
      output: ListSchedulesOutput;
      refusal: Refusal<"VALIDATION_FAILED" | "NOT_FOUND">;
      error: Refusal<"VALIDATION_FAILED" | "UNAUTHORIZED" | "DENIED" | "INTERNAL" | "UNAVAILABLE">;
    };
    getSchedule: {
      input: GetScheduleInput;
      output: GetScheduleOutput;
      refusal: Refusal<"VALIDATION_FAILED" | "NOT_FOUND">;
      error: Refusal<"VALIDATION_FAILED" | "UNAUTHORIZED" | "DENIED" | "INTERNAL" | "UNAVAILABLE">;
    };
    createSchedule: {
      input: CreateScheduleInput;
      output: CreateOutput;
      refusal: Refusal<"VALIDATION_FAILED" | "NOT_FOUND" | "CONFLICT" | "QUOTA_EXCEEDED">;
      error: Refusal<"VALIDATION_FAILED" | "UNAUTHORIZED" | "DENIED" | "INTERNAL" | "UNAVAILABLE" | "CONFLICT">;
    };
    updateSchedule: {
      input: UpdateScheduleInput;
      output: UpdateOutput;
      refusal: Refusal<"VALIDATION_FAILED" | "NOT_FOUND" | "CONFLICT">;
      error: Refusal<"VALIDATION_FAILED" | "UNAUTHORIZED" | "DENIED" | "INTERNAL" | "UNAVAILABLE" | "CONFLICT">;
    };
    deleteSchedule: {
      input: DeleteScheduleInput;
      output: DeleteOutput;
      refusal: Refusal<"VALIDATION_FAILED" | "NOT_FOUND" | "CONFLICT">;
      error: Refusal<"VALIDATION_FAILED" | "UNAUTHORIZED" | "DENIED" | "INTERNAL" | "UNAVAILABLE" | "CONFLICT">;
    };
    runNow: {
      input: RunNowInput;
      output: RunNowOutput;
      refusal: Refusal<"VALIDATION_FAILED" | "NOT_FOUND" | "INSTALL_DISABLED">;
      error: Refusal<"VALIDATION_FAILED" | "UNAUTHORIZED" | "DENIED" | "INTERNAL" | "UNAVAILABLE" | "CONFLICT" | "RATE_LIMITED">;
    };
    runHistory: {
      input: RunHistoryInput;
      output: RunHistoryOutput;
      refusal: Refusal<"VALIDATION_FAILED" | "NOT_FOUND">;
      error: Refusal<"VALIDATION_FAILED" | "UNAUTHORIZED" | "DENIED" | "INTERNAL" | "UNAVAILABLE">;
    };
    getRun: {
      input: GetRunInput;
      output: GetRunOutput;
      refusal: Refusal<"VALIDATION_FAILED" | "NOT_FOUND">;
      error: Refusal<"VALIDATION_FAILED" | "UNAUTHORIZED" | "DENIED" | "INTERNAL" | "UNAVAILABLE">;
    };
    stats: {
      input: StatsInput;
      output: StatsOutput;
      refusal: Refusal<"VALIDATION_FAILED" | "NOT_FOUND">;
      error: Refusal<"VALIDATION_FAILED" | "UNAUTHORIZED" | "DENIED" | "INTERNAL" | "UNAVAILABLE">;
    };
    explain: {
      input: ExplainInput;
      output: ExplainOutput;
      refusal: Refusal<"VALIDATION_FAILED" | "NOT_FOUND">;
      error: Refusal<"VALIDATION_FAILED" | "UNAUTHORIZED" | "DENIED" | "INTERNAL" | "UNAVAILABLE">;
    };
    account: {
      input: AccountInput;
      output: AccountOutput;
      refusal: Refusal<"VALIDATION_FAILED" | "NOT_FOUND">;
      error: Refusal<"VALIDATION_FAILED" | "UNAUTHORIZED" | "DENIED" | "INTERNAL" | "UNAVAILABLE">;
    };
    load: {
      input: LoadInput;
      output: LoadOutput;
      refusal: Refusal<"VALIDATION_FAILED" | "NOT_FOUND">;
      error: Refusal<"VALIDATION_FAILED" | "UNAUTHORIZED" | "DENIED" | "INTERNAL" | "UNAVAILABLE">;
    };
    loadMinute: {
      input: LoadMinuteInput;
      output: LoadMinuteOutput;
      refusal: Refusal<"VALIDATION_FAILED" | "NOT_FOUND">;
      error: Refusal<"VALIDATION_FAILED" | "UNAUTHORIZED" | "DENIED" | "INTERNAL" | "UNAVAILABLE">;
    };
    previewCron: {
      input: PreviewCronInput;
      output: PreviewCronOutput;
      refusal: Refusal<"VALIDATION_FAILED">;
      error: Refusal<"VALIDATION_FAILED" | "UNAUTHORIZED" | "DENIED" | "INTERNAL" | "UNAVAILABLE">;
    };
    listEndpoints: {
      input: ListEndpointsInput;
      output: ListEndpointsOutput;
      refusal: Refusal<"VALIDATION_FAILED" | "NOT_FOUND">;
      error: Refusal<"VALIDATION_FAILED" | "UNAUTHORIZED" | "DENIED" | "INTERNAL" | "UNAVAILABLE">;
    };
    backfillEndpoints: {
      input: BackfillEndpointsInput;
      output: BackfillEndpointsOutput;
      refusal: Refusal<"VALIDATION_FAILED" | "NOT_FOUND">;
      error: Refusal<"VALIDATION_FAILED" | "UNAUTHORIZED" | "DENIED" | "INTERNAL" | "UNAVAILABLE" | "CONFLICT">;
    };
    exportTenant: {
      input: ExportTenantInput;
      output: ExportTenantOutput;
      refusal: Refusal<"VALIDATION_FAILED" | "NOT_FOUND">;
      error: Refusal<"VALIDATION_FAILED" | "UNAUTHORIZED" | "DENIED" | "INTERNAL" | "UNAVAILABLE">;
    };
    importTenant: {
      input: ImportTenantInput;
      output: ImportTenantOutput;
      refusal: Refusal<"VALIDATION_FAILED" | "QUOTA_EXCEEDED">;
      error: Refusal<"VALIDATION_FAILED" | "UNAUTHORIZED" | "DENIED" | "INTERNAL" | "UNAVAILABLE" | "CONFLICT">;
    };
    applySchedules: {
      input: ApplySchedulesInput;
      output: ApplySchedulesOutput;
      refusal: Refusal<"VALIDATION_FAILED" | "NOT_FOUND" | "CONFLICT" | "QUOTA_EXCEEDED">;
      error: Refusal<"VALIDATION_FAILED" | "UNAUTHORIZED" | "DENIED" | "INTERNAL" | "UNAVAILABLE" | "CONFLICT">;
    };
    auditLog: {
      input: AuditLogInput;
      output: AuditLogOutput;
      refusal: Refusal<"VALIDATION_FAILED" | "NOT_FOUND">;
      error: Refusal<"VALIDATION_FAILED" | "UNAUTHORIZED" | "DENIED" | "INTERNAL" | "UNAVAILABLE">;
    };
  }
}
