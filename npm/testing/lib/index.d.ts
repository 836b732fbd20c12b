export { FakeHost, Response, type FakeHostOptions, type Fire, type Run } from "./fake_host.js";
export type { Limits } from "./limits.js";
export { release as zonesRelease } from "./zones.js";
