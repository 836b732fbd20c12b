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
