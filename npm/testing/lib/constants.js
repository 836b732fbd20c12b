// Made from the service's rules by `make api`.
export const CRON_TOO_LONG = "Cron expression too long";
export const FIVE_FIELDS = "Invalid cron expression (expected 5 fields: m h dom mon dow)";
export const UNSUPPORTED = "Invalid cron expression (unsupported characters)";
export const BOTH_DAYS = "Cron cannot set both day-of-month and day-of-week";
export const NEVER_FIRES = "Invalid cron expression (never fires)";
export const REQUIRED = "Required";
export const TIMEZONE_TOO_LONG = "Timezone too long";
export const INVALID_TIMEZONE = "Invalid timezone";
export const NAME_TOO_LONG = "Name too long";
export const INVALID_NAME = "Invalid name";
export const INVALID_ID = "Invalid scheduleId";
export const NAME_TAKEN = "Schedule name already in use for this extension";
export const NOT_FOUND = "Schedule not found";
export const NOT_A_CONTAINER = "Payload must be a JSON object or array";
export const TOO_LARGE = "Payload too large";
export const NOT_SERIALIZABLE = "Payload must be JSON-serializable";
export const BAD_PAYLOAD = "Payload must be JSON-serializable";
export const NOT_SCHEDULABLE = "Endpoint not found or not schedulable";
export const REQUEST_TOO_LARGE = "Request is too large";
export const MAX_KEY_CHARACTERS = 256;
export const MAX_VALUE_BYTES = 262144;
export const MAX_AREA_BYTES = 4194304;
export const MAX_AREA_ENTRIES = 1000;
export const PAGE_SIZE = 100;
export const MAX_BODY_BYTES = 262144;
export const WINDOW_MS = 60000;
export const SMALLEST_INTEGER = -9223372036854775808n;
export const LARGEST_INTEGER = 18446744073709551615n;
export const CREATE_FIELDS = ["endpoint", "cron", "timezone", "enabled", "name", "payload"];
export const UPDATE_FIELDS = ["scheduleId", "endpoint", "cron", "timezone", "enabled", "name", "payload", "expectedRevision"];
export const KNOWN_CAPABILITIES = ["cap:client.read", "cap:context.read", "cap:http.fetch", "cap:invoice.manual.create", "cap:log.emit", "cap:scheduler.manage", "cap:secrets.get", "cap:service.read", "cap:storage.kv", "cap:ui.proxy", "cap:user.read"];
export const DEFAULT_CAPABILITIES = ["cap:context.read", "cap:log.emit", "cap:user.read"];
export const CAPABILITIES = { "context": "cap:context.read", "logging": "cap:log.emit", "storage": "cap:storage.kv", "scheduler": "cap:scheduler.manage" };
/** The limits of one install. Lengths are in characters (code points). */
export const DEFAULT_LIMITS = {
    minIntervalMinutes: 5,
    maxSchedules: 50,
    changesPerMinute: 10,
    manualRunsPerMinute: 5,
    maxCronLength: 128,
    maxTimezoneLength: 64,
    maxNameLength: 128,
    maxEndpointLength: 256,
    maxPayloadLength: 100000,
    maxPayloadDepth: 64,
};
