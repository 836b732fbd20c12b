// The rules on their own, for the tests that hold them against the service's.
export { InvalidCronError, parseCron } from "./cron.js";
export { DEFAULT_LIMITS } from "./constants.js";
export { chooseEndpoint, parseSelector, readEndpoints } from "./endpoints.js";
export { effectiveCapabilities } from "./host.js";
export { parse as parseJson, wireFloat, write as writeJson } from "./json.js";
export { appendWindow, checkRate } from "./limits.js";
export { checkPayload } from "./payload.js";
export { requestSize } from "./request_size.js";
export { InMemoryScheduler } from "./scheduler.js";
export { nextSlot, slotsBetween } from "./slots.js";
export { MemoryStorage } from "./storage.js";
export { loadZone } from "./zones.js";
