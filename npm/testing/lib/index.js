export { FakeHost, Response } from "./fake_host.js";
export { release as zonesRelease } from "./zones.js";
